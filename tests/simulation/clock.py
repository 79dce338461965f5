"""Clocks: each process has its own, which is off, runs too fast or too slow, and may jump."""

import asyncio
import random
from contextlib import suppress

from tests.simulation.loop import Timeline

DRIFT = 0.03
"""How much too fast or too slow a clock runs, at the most."""
OFF_S = 5.0
"""How far apart two clocks are at first, seconds."""
EPOCH_S = 1_700_000_000.0
"""What the database's clock says when a story begins."""


class DatabaseClock:
    """The one that decides; it is the timeline itself."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def now(self) -> float:
        return EPOCH_S + self._timeline.now

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        raise AssertionError("the database waits for nobody")


class ProcessClock:
    """The monotonic clock of one process."""

    def __init__(self, timeline: Timeline, chance: random.Random) -> None:
        self._timeline = timeline
        self._ahead = EPOCH_S + chance.uniform(-OFF_S, OFF_S)
        self._rate = chance.uniform(1 - DRIFT, 1 + DRIFT)
        self._stopped_at: float | None = None
        self._went_on_at = float("-inf")

    def now(self) -> float:
        return self._ahead + self._timeline.now * self._rate

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds / self._rate):
                await event.wait()

    @property
    def missed_s_ago(self) -> float:
        """How long ago it went on after a stop, seconds by the database's clock."""
        return self._timeline.now - self._went_on_at

    def jump(self, seconds: float) -> None:
        """Forward."""
        self._ahead += seconds

    def stop(self) -> None:
        """The machine stands still."""
        self._stopped_at = self.now()

    def go_on(self) -> None:
        """Time that has passed since a stop is missed."""
        if self._stopped_at is not None:
            self._ahead -= self.now() - self._stopped_at
            self._went_on_at = self._timeline.now
        self._stopped_at = None
