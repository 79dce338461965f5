"""Time, behind a port: the engine's waits take no time in tests."""

import asyncio
import time
from contextlib import suppress
from typing import Protocol


class Clock(Protocol):
    """Durations and waits. Which lease is over is the store's to say, never this clock's."""

    def now(self) -> float:
        """Seconds that only ever grow."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return when `event` is set or `seconds` have passed, whichever is first."""
        ...


class MonotonicClock:
    """The machine's own time."""

    def now(self) -> float:
        """Seconds since some start."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for real."""
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)
