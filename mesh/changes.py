"""Tells those who follow a thing, in this process, that it changed. A hint: they look again now and then anyway."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

POLL = 0.5
"""Seconds after which a follower looks although nobody told: another replica may have made the change."""
BREATH = 0.05
"""Seconds between two looks at the least: what changes faster is told in fewer, fuller tellings."""


class Changes:
    """Who follows what."""

    def __init__(self) -> None:
        self._followers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def changed(self, key: str) -> None:
        """Tell the followers of `key`."""
        for follower in self._followers.get(key, ()):
            follower.set()

    async def follow(
        self, key: str, look: Callable[[], Awaitable[T]], is_final: Callable[[T], bool]
    ) -> AsyncGenerator[T]:
        """What `look` finds now, and again whenever it has changed, until it is final."""
        told = asyncio.Event()
        self._followers[key].add(told)
        last: T | None = None
        try:
            while True:
                told.clear()  # before looking: a change made meanwhile is looked at again
                current = await look()
                if current != last:
                    yield current
                    last = current
                if is_final(current):
                    return
                await asyncio.sleep(BREATH)
                with suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), POLL)
        finally:
            self._followers[key].discard(told)
            if not self._followers[key]:
                del self._followers[key]
