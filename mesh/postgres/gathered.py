"""What is asked for at the same time is done together: first one, then all that came while it was done, and so on."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from mesh.errors import Outage

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.postgres.gathered")

T = TypeVar("T")

AT_A_TIME = 50
"""Things done together at the most, so that nobody is kept waiting for long."""


@dataclass
class _Waiting(Generic[T]):
    thing: T
    key: Hashable
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def settle(self, error: Exception | None) -> None:
        """Tell the one who waits, if he still does."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class Gathered(Generic[T]):
    """Those who wait for something to be done."""

    def __init__(
        self, together: Callable[[Sequence[T]], Awaitable[None]], alone: Callable[[T], Awaitable[None]]
    ) -> None:
        """`together` does several with different keys, all or none.

        Where it fails, each is done `alone`, so that none spoils it for the others.
        """
        self._together = together
        self._alone = alone
        self._waiting: list[_Waiting[T]] = []
        self._enough = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    async def do(self, thing: T, key: Hashable, within: float = 0) -> None:
        """Returns once it is done. It may wait so many seconds for company. Raises what `alone` raises."""
        loop, waiting = asyncio.get_running_loop(), _Waiting(thing, key)
        self._waiting.append(waiting)
        if within and len(self._waiting) < AT_A_TIME:
            loop.call_later(within, self._enough.set)
        else:
            self._enough.set()
        if self._working is None or self._working.done():
            self._working = loop.create_task(self._work(), context=Context())  # not in the trace of who came first
        await waiting.done

    async def _work(self) -> None:
        while self._waiting:
            await self._enough.wait()
            self._enough.clear()
            await self._do(self._taken())

    def _taken(self) -> list[_Waiting[T]]:
        taken: dict[Hashable, _Waiting[T]] = {}
        left: list[_Waiting[T]] = []
        for each in self._waiting:
            if each.key in taken or len(taken) == AT_A_TIME:
                left.append(each)
            else:
                taken[each.key] = each
        self._waiting = left
        if left:
            self._enough.set()
        return list(taken.values())

    async def _do(self, group: list[_Waiting[T]]) -> None:
        if len(group) > 1:
            try:
                await self._together([each.thing for each in group])
            except Exception as error:  # noqa: BLE001 - whose it is, shows when each is done alone
                log.info("not_together", things=len(group), error=repr(error))
            else:
                for each in group:
                    each.settle(None)
                return
        await asyncio.gather(*(self._do_alone(each) for each in group))

    async def _do_alone(self, each: _Waiting[T]) -> None:
        try:
            await self._alone(each.thing)
        except Exception as error:  # noqa: BLE001 - it is for the one who waits
            each.settle(error)
        except BaseException:
            each.settle(Outage("it was given up"))
            raise
        else:
            each.settle(None)
