"""PostgreSQL: the pool, and the one transaction in which things happen once.

Load, decide, write: what a request or a fact changes, the row that says it was handled, the stored answer and the
facts it leads to are committed together or not at all.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import asyncpg
import structlog
from google.protobuf.message import Message

from mesh import fence
from mesh.errors import Outage, Refusal
from mesh.fence import Fence
from mesh.postgres.errors import OUTAGES, discreet
from mesh.postgres.handled import ANNOUNCE, answer_to, fingerprint, mark
from mesh.postgres.lockstep import Connection
from mesh.postgres.migrations.apply import migrate
from mesh.postgres.migrations.files import KIT, Migrations
from mesh.postgres.once import Inbox, Once
from mesh.postgres.transaction import HandledBefore, Transaction, columns
from mesh.postgres.uncancelled import Uncancelled

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.postgres.database")

Response = TypeVar("Response", bound=Message)
Outcome = TypeVar("Outcome", bound=Message | Refusal)

__all__ = ["OUTAGES", "Connection", "Database", "Once", "Overtaken", "Transaction"]

REQUEST_ID = "request_id"
"""The field that every mutating request has."""

POOL_SIZE = 8
"""Connections a process holds; more than the cores of a database server only queue there."""

PATIENCE = {"lock_timeout": "2s", "idle_in_transaction_session_timeout": "5s"}
"""Whoever is frozen or cut off in the middle of a transaction does not hold up the others for longer than this."""

Work = Callable[[Transaction], Awaitable[Response]]


class Database:
    """One service's own database."""

    def __init__(self, pool: asyncpg.Pool, source: str) -> None:
        self.pool = pool
        self.source = source
        self.announced = asyncio.Event()
        """Set after each commit that announced something: wakes the relay."""
        self.full = ""
        """Why nothing more can be announced, while that is so. What announces nothing goes on."""
        self.inbox = Inbox(self)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, source: str, *owners: Migrations) -> "AsyncGenerator[Database]":
        """Connect, waiting for the server as long as it takes, and apply the migrations that are due at a start.

        Those are the kit's and the owners'. Raises MigrationError.
        """
        pool = await _connect(url, (KIT, *owners))
        try:
            yield cls(pool, source)
        finally:
            await _close(pool)

    async def answers(self) -> bool:
        """Whether the database answers now."""
        try:
            await self.pool.fetchval("SELECT 1")
        except OUTAGES:
            return False
        return True

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection of the pool. Raises Outage if the database does not answer, also while it is held; Overtaken."""
        try:
            with discreet():
                async with self.pool.acquire() as connection:
                    yield connection
        except asyncpg.UniqueViolationError as error:
            raise Overtaken(f"database: {error!r}") from error
        except OUTAGES as error:
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError from error  # a cancel is not lost in what its clean-up ran into
            raise Outage(f"database: {error!r}") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """A transaction without a handled row or facts. Raises Outage if the database does not answer."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def announcing(self, cause: str) -> AsyncGenerator[Transaction]:
        """A transaction whose announced facts are committed with it; `cause` is what led to them."""
        async with self.transaction() as connection:
            tx = Transaction(connection, self, cause)
            yield tx
            if tx.events:
                await connection.execute(ANNOUNCE, *columns(tx.events))
        self.committed(tx)

    async def once(self, request: Message, response: type[Response], work: Work[Response]) -> Response:
        """Answer a request with a `request_id` once; a repeat gets the first answer, refusals included.

        Raises the Refusal that the work raises, after it is stored; Refusal ALREADY_EXISTS if the id was used for
        another request; Refusal STALE_EPOCH if a later owner of the call's saga was heard, or Outage if the database
        does not answer, both with nothing stored. What work wrote before it refused is committed with the refusal. Of
        a repeat everything is rolled back.
        """
        key: str = getattr(request, REQUEST_ID)
        try:
            outcome = await self.handle(
                key, f"request/{key}", fingerprint(request), partial(_attempt, work), fence.current.get()
            )
        except (HandledBefore, Overtaken) as other:
            answer = await self.answered(request, response)
            if answer is None:
                raise Outage(f"somebody else is at {key}: {other}; repeat") from other
            return answer
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    async def answered(self, request: Message, response: type[Response]) -> Response | None:
        """The stored answer to a request, if it was handled before: asked before anything happens outside.

        From here on the call's saga is fenced off from its earlier owners. Raises the stored Refusal; Refusal
        ALREADY_EXISTS if the id was used for another request; Refusal STALE_EPOCH; Outage.
        """
        async with self.connection() as connection:
            return await answer_to(connection, fence.current.get(), getattr(request, REQUEST_ID), request, response)

    def once_per_event(
        self,
        durable: str,
        event_id: str,
        announced_at: datetime,
        leads_to: tuple[type[Message], ...] = (),
        about: str = "",
    ) -> Once:
        """The inbox: handles an event once per durable."""
        return Once(self, durable, event_id, announced_at, leads_to, about or event_id)

    async def handle(
        self,
        cause: str,
        key: str,
        fingerprint: bytes,
        work: Callable[[Transaction], Awaitable[Outcome]],
        by: Fence | None,
    ) -> Outcome:
        """Do the work, and mark its key as handled, with its outcome and its facts, in the last statement.

        Marking comes last because that saves a round trip, and may: whoever comes second, even at the same time,
        finds the mark, and nothing it did is committed; nor is what an owner did who was replaced meanwhile. Raises
        HandledBefore; Refusal STALE_EPOCH.
        """
        async with self.transaction() as connection:
            tx = Transaction(connection, self, cause)
            outcome = await work(tx)
            if not await mark(connection, by, key, fingerprint, outcome, columns(tx.events)):
                raise HandledBefore([key])
        self.committed(tx)
        return outcome

    def committed(self, *transactions: Transaction) -> None:
        """Have the relay look, if something was announced: it is a fact now, and its trace may tell of it."""
        for do in (do for tx in transactions for do in tx.then):
            do()
        for event in (event for tx in transactions for event in tx.events):
            event.span.end()
            self.announced.set()


class Overtaken(Outage):
    """Somebody else has just written the same id: the repeat finds what they wrote."""


async def _attempt(work: Work[Response], transaction: Transaction) -> Response | Refusal:
    try:
        return await work(transaction)
    except Refusal as refusal:
        return refusal


async def _connect(url: str, owners: tuple[Migrations, ...]) -> asyncpg.Pool:
    while True:
        try:
            await migrate(url, owners)
            return await _pool(url)
        except OUTAGES as error:
            log.warning("database_unreachable", error=repr(error))
            await asyncio.sleep(0.2)


async def _pool(url: str) -> asyncpg.Pool:
    pool = asyncpg.create_pool(
        url,
        min_size=1,
        max_size=POOL_SIZE,
        connection_class=Uncancelled,
        command_timeout=10,
        timeout=5,
        init=_prepare,
        reset=_keep,
        server_settings=PATIENCE,
    )
    try:
        return await pool
    except BaseException:
        pool.terminate()
        raise


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _keep(_connection: Any) -> None:
    """A connection goes back as it is: nobody changes its session, and resetting it would be a round trip."""


async def _close(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), 5)
    except (TimeoutError, *OUTAGES):
        pool.terminate()
