"""Group commit: what many sagas write at the same time goes to the database in one statement."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Generic, Self, TypeVar

import asyncpg
import structlog

from mesh.errors import Outage
from mesh.postgres.database import Connection, Database
from orchestrator import metrics

log: structlog.stdlib.BoundLogger = structlog.get_logger("orchestrator.group_commit")

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH = 500
"""Items of one statement, at the most."""
RETRY_S = 0.1
RETRY_CAP_S = 1.0
"""Between attempts to reach the database, seconds."""
TIMEOUT_S = 5.0
"""After which a connection that does not answer is given up, seconds."""
REPLAN_S = 30.0
"""For how long a plan is kept, seconds: it was made for tables of another size."""
TOO_SLOW = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
"""Somebody holds a row for long, or the batch is too large for what the server can do just now."""
REJECTIONS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError, TypeError)
"""What the database, or its client, has against an item: repeating does not help."""


class GroupCommit(Generic[Item, Result]):
    """One writer with a connection of its own; what is submitted while it writes goes into its next statement.

    The statement must be idempotent: after a lost connection it is sent again, as nobody knows whether it was
    committed.
    """

    def __init__(
        self,
        database: Database,
        write: Callable[[Connection, Sequence[Item]], Awaitable[Sequence[Result]]],
        what: str,
    ) -> None:
        """`write` returns a result for each item, in their order. `what`: the items, as metrics name them."""
        self._database = database
        self._write = write
        self._what = what
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._arrived = asyncio.Event()

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[Self]:
        """Write while open. What still waits at the end is given up."""
        writer = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer
            for _, result in self._waiting:
                result.cancel()

    async def submit(self, item: Item) -> Result:
        """Returns once a commit covers the item, however long the database is away."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        self._arrived.set()
        return await result

    async def _run(self) -> None:
        wait = RETRY_S
        while True:
            try:
                async with self._database.connection() as connection:
                    wait = RETRY_S
                    await self._serve(connection)
            except Outage as error:
                log.warning("database_unreachable", error=str(error), waiting=len(self._waiting))
            except Exception:
                log.exception("write_failed", waiting=len(self._waiting))
            await asyncio.sleep(wait)
            wait = min(2 * wait, RETRY_CAP_S)

    async def _serve(self, connection: Connection) -> None:
        try:
            # A plan is kept although the tables grow: it must suit a table that is large, also while it is not.
            await connection.execute("SET enable_seqscan = off; SET enable_mergejoin = off")
            # The server ends what takes too long: it would not notice that nobody waits for it any more.
            await connection.execute("SET lock_timeout = '300ms'; SET statement_timeout = '4s'")
            planned_at = asyncio.get_running_loop().time()
            while True:
                while not self._waiting:
                    self._arrived.clear()
                    await self._arrived.wait()
                if asyncio.get_running_loop().time() > planned_at + REPLAN_S:
                    await connection.execute("DISCARD PLANS")
                    planned_at = asyncio.get_running_loop().time()
                batch = self._waiting[:BATCH]
                await self._commit(connection, batch)
                late = [each for each in batch if not each[1].done()]
                self._waiting = self._waiting[len(batch) :] + late
        finally:
            with suppress(asyncpg.InterfaceError):  # gone already
                connection.terminate()  # nobody knows what it was in the middle of

    async def _commit(self, connection: Connection, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                results = await self._write(connection, [item for item, _ in batch])
        except (*REJECTIONS, *TOO_SLOW) as error:
            await self._apart(connection, batch, error)
            return
        metrics.committed(self._what, len(batch), asyncio.get_running_loop().time() - began)
        for (_, result), value in zip(batch, results, strict=True):
            if not result.done():
                result.set_result(value)

    async def _apart(
        self, connection: Connection, batch: Sequence[tuple[Item, asyncio.Future[Result]]], error: Exception
    ) -> None:
        """One item must not take the others along. It is told if it is rejected; else it waits for another turn."""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._commit(connection, batch[:middle])
            await self._commit(connection, batch[middle:])
        elif isinstance(error, REJECTIONS) and not batch[0][1].done():
            batch[0][1].set_exception(error)
