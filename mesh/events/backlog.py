"""The outbox is bounded, and seen to fill while the broker takes nothing. Full, it refuses further facts."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from enum import IntEnum
from math import ceil

import structlog

from mesh.errors import Outage
from mesh.postgres.database import Database
from mesh.sweeper import swept
from mesh.telemetry.metrics import READ_SECONDS, Gauge, Reading, observe

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.events.backlog")

LEFT = 0.9
"""A level ends when the backlog falls below this part of where it begins, so that none comes and goes in a minute."""

BACKLOG = """
SELECT count(*) AS unsent, coalesce(extract(epoch FROM now() - min(announced_at)), 0)::float8 AS oldest_s
FROM (SELECT announced_at FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT $1) AS waiting
"""

UNSENT = Gauge("ensemble.outbox.unsent", "{message}", "Facts that wait in the outbox; counted up to the limit.")
OLDEST = Gauge("ensemble.outbox.oldest.age", "s", "How long the oldest fact in the outbox has waited; 0 if none does.")
LIMIT = Gauge("ensemble.outbox.limit", "{message}", "With so many waiting, nothing more can be announced.")


class Level(IntEnum):
    """How much of the outbox is taken up."""

    CLEAR = 0
    FILLING = 1
    FULL = 2


STARTS = {Level.CLEAR: 0.0, Level.FILLING: 0.5, Level.FULL: 1.0}
"""Where each level begins, as a part of the limit."""


class Backlog:
    """What waits in a database's outbox, as it was measured last, and whether that is too much."""

    def __init__(self, database: Database, limit: int) -> None:
        self._database = database
        self._limit = limit
        self._level = Level.CLEAR
        self._readings: tuple[Reading, ...] = ()

    @classmethod
    @asynccontextmanager
    async def measured(cls, database: Database, limit: int, every: float = READ_SECONDS) -> "AsyncGenerator[Backlog]":
        """Measure now, and again and again while open. What is announced between two measurements comes on top."""
        backlog = cls(database, limit)
        observe((UNSENT, OLDEST, LIMIT), lambda: backlog._readings)
        with suppress(Outage):
            await backlog.measure()
        async with swept(every, backlog.measure):
            yield backlog

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be announced."""
        return self._level is Level.FULL

    async def measure(self) -> None:
        """Count what waits. Raises Outage if the database does not answer; what was full is still taken to be."""
        try:
            async with self._database.connection() as connection:
                (row,) = await connection.fetch(BACKLOG, self._limit)
        except Outage:
            self._readings = ()
            raise
        self.take(row["unsent"], row["oldest_s"])

    def take(self, unsent: int, oldest_s: float) -> None:
        """So many wait, the oldest for so many seconds: open or close the outbox accordingly."""
        self._readings = (Reading(UNSENT, unsent), Reading(OLDEST, oldest_s), Reading(LIMIT, self._limit))
        before = self._level
        self._level = max(level for level in Level if unsent >= self._threshold(level))
        self._database.full = self._refusal(unsent) if self.is_full else ""
        if self._level != before:
            _report(before, self._level, unsent=unsent, limit=self._limit, oldest_s=round(oldest_s, 1))

    def _threshold(self, level: Level) -> float:
        """With fewer than this the level is not reached, or not held any more."""
        return STARTS[level] * self._limit * (LEFT if level <= self._level else 1)

    def _refusal(self, unsent: int) -> str:
        room = ceil(self._threshold(Level.FULL))
        return (
            f"the outbox holds {unsent} facts that the broker has not taken; "
            f"nothing more is announced until fewer than {room} are left"
        )


def _report(before: Level, now: Level, **facts: float) -> None:
    if now is Level.FULL:
        log.error("outbox_full", **facts)
    elif now is Level.CLEAR:
        log.info("outbox_drained", **facts)
    elif before is Level.FULL:
        log.warning("outbox_no_longer_full", **facts)
    else:
        log.error("outbox_filling", **facts)
