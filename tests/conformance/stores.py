"""The stores that one suite is held by, and what it stores in them."""

import uuid
from contextlib import AsyncExitStack
from typing import Any, Protocol

import asyncpg

from mesh.postgres.database import Database
from orchestrator import statements
from orchestrator.log import Entry, Kind, State
from orchestrator.memory import MemoryStore, MemoryTables
from orchestrator.postgres import MIGRATIONS, PostgresStore
from orchestrator.store import (
    LEASE_S,
    Append,
    NewSaga,
    SagaStore,
)

VERSION = "v1"
OPENING = (Entry(1, 1, "", Kind.STARTED), Entry(2, 1, "first", Kind.STEP_STARTED))


class Stores(Protocol):
    """Replicas of one store, and what becomes of their leases."""

    async def replica(self) -> SagaStore:
        """A new replica, with a lease."""
        ...

    async def expire(self, store: SagaStore) -> None:
        """The lease of a replica is over."""
        ...

    async def end(self, store: SagaStore) -> None:
        """The process of a replica ends, long before its lease."""
        ...


class InMemory(Stores):
    def __init__(self) -> None:
        self._tables = MemoryTables()

    async def replica(self) -> SagaStore:
        store = MemoryStore(self._tables, str(uuid.uuid4()), [VERSION])
        await store.renew()
        return store

    async def expire(self, store: SagaStore) -> None:
        self._tables.leases[store.replica_id] = 0

    async def end(self, store: SagaStore) -> None:
        self._tables.ended(store.replica_id)


class InPostgres(Stores):
    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._stack = stack
        self._sessions: dict[str, Any] = {}

    async def replica(self) -> SagaStore:
        replica_id = str(uuid.uuid4())
        database = await self._stack.enter_async_context(Database.open(self._url, "test", MIGRATIONS))
        session = self._sessions[replica_id] = await asyncpg.connect(self._url)
        self._stack.push_async_callback(session.close)
        await session.execute(statements.RENEW, replica_id, LEASE_S * 100)
        return await self._stack.enter_async_context(PostgresStore(database, replica_id, [VERSION]).writing())

    async def expire(self, store: SagaStore) -> None:
        await self._sessions[store.replica_id].execute(
            "UPDATE replica SET expires_at = now() WHERE replica_id = $1", store.replica_id
        )

    async def end(self, store: SagaStore) -> None:
        self._sessions[store.replica_id].terminate()


def new_saga() -> NewSaga:
    return NewSaga(str(uuid.uuid4()), "w", VERSION, b"input", {"traceparent": "t"}, OPENING)


def third(saga: NewSaga, epoch: int = 1, kind: Kind = Kind.STEP_SUCCEEDED, state: State = State.RUNNING) -> Append:
    """What follows the opening."""
    entry = Entry(3, 1, "first", kind, b"answer", "REASON", "message", epoch)
    return Append(saga.saga_id, epoch, 3, [entry], state)


def parking(saga: NewSaga, seconds: float, epoch: int = 1, *, cancel_heard: bool = False) -> Append:
    """Gives the saga up, right after the opening."""
    return Append(saga.saga_id, epoch, 3, [], State.RUNNING, seconds, cancel_heard=cancel_heard)


async def entries(store: SagaStore, saga: NewSaga) -> list[Kind]:
    record = await store.get(saga.saga_id)
    assert record is not None
    return [entry.kind for entry in record.entries]
