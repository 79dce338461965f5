"""How a client learns that its sagas have ended: it looks at all of them at once, in the orchestrator's database.

`WatchSaga` is what an application uses, but it would measure itself: a stream and several reads of the whole log for
each order, at least 50 ms apart. A look is one read by primary key for all open orders; it costs the orchestrator
nothing, the database and the client together some 0.2 ms. An order counts as open until a look has seen its end, so
that whatever is unfair in it speaks against the orchestrator: half a pause more per order, and the looks' CPU.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

LOOK = "SELECT saga_id::text, state FROM saga WHERE saga_id = ANY ($1::uuid[]) AND state = ANY ($2::text[])"
SUCCEEDED = "SUCCEEDED"
LAST_STATES = (SUCCEEDED, "UNWOUND", "STUCK")
PAUSE_ALONE, PAUSE = 0.001, 0.01
"""Seconds between looks: for one order alone, whose time is what is measured, and for many."""
TOO_EARLY = 0.75
"""Part of the fastest saga's time before which it is of no use to look for a saga's end."""

Look: TypeAlias = "PreparedStatement[asyncpg.Record]"


class Endings:
    """Those who wait for the end of a saga."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._since: dict[str, float] = {}
        self._fastest = math.inf
        self._any = asyncio.Event()

    async def of(self, saga_id: str) -> None:
        """Returns once the saga has succeeded. Raises RuntimeError when it ends otherwise."""
        ending = self._waiting[saga_id] = asyncio.get_running_loop().create_future()
        self._since[saga_id] = time.monotonic()
        self._any.set()
        await ending

    @classmethod
    @asynccontextmanager
    async def watched(cls, database_url: str) -> "AsyncGenerator[Endings]":
        """Look while open."""
        connection = await asyncpg.connect(database_url)
        endings = cls()
        looking = asyncio.create_task(endings._run(await connection.prepare(LOOK)))
        try:
            yield endings
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            await connection.close()

    async def _run(self, look: Look) -> None:
        while True:
            while not self._waiting:
                self._any.clear()
                await self._any.wait()
            await asyncio.sleep(self._pause())
            for saga_id, state in await look.fetch(list(self._waiting), LAST_STATES):
                self._end(saga_id, state)

    def _pause(self) -> float:
        """Until the next look; the first one in `_since` has waited longest."""
        shortest = PAUSE_ALONE if len(self._since) == 1 else PAUSE
        if self._fastest == math.inf:
            return shortest
        waited = time.monotonic() - next(iter(self._since.values()))
        return max(shortest, TOO_EARLY * self._fastest - waited)

    def _end(self, saga_id: str, state: str) -> None:
        ending = self._waiting.pop(saga_id)
        self._fastest = min(self._fastest, time.monotonic() - self._since.pop(saga_id))
        if state == SUCCEEDED:
            ending.set_result(None)
        else:
            ending.set_exception(RuntimeError(f"saga {saga_id} is {state}: this run measures nothing"))
