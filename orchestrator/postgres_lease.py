"""The lease in PostgreSQL, kept in a thread and on a connection of its own.

So neither a busy event loop nor a busy pool loses it. And the connection says more than the lease: where the process
ends its connection closes at once, and others need not wait until the lease is over.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg

from mesh.errors import Outage
from mesh.postgres.database import OUTAGES
from orchestrator import statements
from orchestrator.clock import Clock
from orchestrator.lease import RENEW_S, Lease
from orchestrator.store import LEASE_S

ANSWER_S = 2.0
"""A renewal that takes longer is given up, with its connection and so with the lease; seconds."""


class PostgresLease(Lease):
    """The lease of one incarnation of a replica."""

    def __init__(self, url: str, replica_id: str, clock: Clock) -> None:
        super().__init__(clock)
        self._url = url
        self._replica_id = replica_id
        self._connection: asyncpg.Connection[Any] | None = None

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[Self]:
        """Held, as long as the store can be reached, while open."""
        loop, ended = asyncio.new_event_loop(), asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(self._keep(ended),), name="lease", daemon=True)
        thread.start()
        try:
            while not self.holds():
                self.beat()
                await asyncio.sleep(RENEW_S / 10)
            yield self
        finally:
            loop.call_soon_threadsafe(ended.set)
            await asyncio.to_thread(thread.join)
            loop.close()

    async def _keep(self, ended: asyncio.Event) -> None:
        try:
            await self.keep(self._renew, ended)
        finally:
            self._hang_up()

    async def _renew(self) -> None:
        """Raises Outage."""
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._connection is None:
                    self._connection = await asyncpg.connect(self._url)
                await self._connection.execute(statements.RENEW, self._replica_id, LEASE_S)
        except OUTAGES as error:
            self._hang_up()
            raise Outage(f"database: {error!r}") from error

    def _hang_up(self) -> None:
        self.give_up()
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None
