"""How a client learns that its orders have ended: it looks at all of them at once, in the database of who knows.

`WatchSaga` or `WatchOrder` is what an application uses, but it would measure itself: a stream and several reads of the
whole log or timeline for each order, at least 50 ms apart. A look is one read by primary key for all open orders; it
costs the service nothing, the database and the client together some 0.2 ms. An order counts as open until a look has
seen its end, so that whatever is unfair in it speaks against it: half a pause more per order, and the looks' CPU.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

SAGAS = """
SELECT saga_id::text, state = 'SUCCEEDED', state FROM saga
WHERE saga_id = ANY ($1::uuid[]) AND state IN ('SUCCEEDED', 'UNWOUND', 'STUCK')
"""
ORDERS = """
SELECT order_id::text, state = 'COMPLETED', state FROM orders
WHERE order_id = ANY ($1::uuid[])
    AND (state = 'CANCELLED' OR state = 'COMPLETED' AND 'NotificationSent' = ANY (learned))
"""
"""As a saga does, a choreographed order ends when its customer has been told, too."""
PAUSE_ALONE, PAUSE = 0.001, 0.01
"""Seconds between looks: for one order alone, whose time is what is measured, and for many."""
TOO_EARLY = 0.75
"""Part of the fastest order's time before which it is of no use to look for an order's end."""

Look: TypeAlias = "PreparedStatement[asyncpg.Record]"


class Endings:
    """Those who wait for the end of an order."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._since: dict[str, float] = {}
        self._fastest = math.inf
        self._any = asyncio.Event()

    async def of(self, order_id: str) -> None:
        """Returns once the order is fulfilled. Raises RuntimeError when it ends otherwise."""
        ending = self._waiting[order_id] = asyncio.get_running_loop().create_future()
        self._since[order_id] = time.monotonic()
        self._any.set()
        await ending

    @classmethod
    @asynccontextmanager
    async def watched(cls, database_url: str, look: str) -> "AsyncGenerator[Endings]":
        """Look while open, with `SAGAS` or `ORDERS`."""
        connection = await asyncpg.connect(database_url)
        endings = cls()
        looking = asyncio.create_task(endings._run(await connection.prepare(look)))
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
            for order_id, is_fulfilled, state in await look.fetch(list(self._waiting)):
                self._end(order_id, None if is_fulfilled else state)

    def _pause(self) -> float:
        """Until the next look; the first one in `_since` has waited longest."""
        shortest = PAUSE_ALONE if len(self._since) == 1 else PAUSE
        if self._fastest == math.inf:
            return shortest
        waited = time.monotonic() - next(iter(self._since.values()))
        return max(shortest, TOO_EARLY * self._fastest - waited)

    def _end(self, order_id: str, failed: str | None) -> None:
        ending = self._waiting.pop(order_id)
        self._fastest = min(self._fastest, time.monotonic() - self._since.pop(order_id))
        if failed is None:
            ending.set_result(None)
        else:
            ending.set_exception(RuntimeError(f"order {order_id} is {failed}: this run measures nothing"))
