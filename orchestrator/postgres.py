"""The store in PostgreSQL: many replicas, one truth. Only the database's clock decides."""

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Self

import asyncpg
import structlog

from mesh.postgres.database import Connection, Database
from mesh.postgres.migrations.files import Migrations
from orchestrator import metrics, statements
from orchestrator.group_commit import GroupCommit
from orchestrator.rows import append_row, by_saga, columns, entry_rows, new_row, record, started_record, with_log
from orchestrator.store import (
    LEASE_S,
    QUARANTINE_AFTER,
    UNSPACED,
    Append,
    Appended,
    Conflict,
    Fenced,
    Listing,
    NewSaga,
    Record,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger("orchestrator.postgres")

MIGRATIONS = Migrations.of("orchestrator")


class PostgresStore:
    """The store as one incarnation of a replica uses it."""

    def __init__(self, database: Database, replica_id: str, versions: Collection[str]) -> None:
        """`replica_id`: a new UUID for each start of a process. `versions`: fingerprints of the sagas deployed here."""
        self._database = database
        self.replica_id = replica_id
        self._versions = list(versions)
        self._starts = GroupCommit(database, self._write_starts, "starts")
        self._appends = GroupCommit(database, self._write_appends, "appends")

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[Self]:
        """Starts and appends are stored while open."""
        async with self._starts.writing(), self._appends.writing():
            yield self

    async def start(self, new: NewSaga, *, owned: bool = True) -> Record:
        """See SagaStore."""
        if (stored := await self._starts.submit((new, owned))) is not None:
            metrics.started(new.workflow)
            return stored
        stored = await self.get(new.saga_id)
        if stored is None or (stored.workflow, stored.input) != (new.workflow, new.input):
            raise Conflict(new.saga_id)
        return stored

    async def append(self, append: Append) -> Appended:
        """See SagaStore."""
        appended = await self._appends.submit(append)
        if appended is None:
            raise Fenced(append.saga_id)
        return appended

    async def cancel(self, saga_id: str, reason: str) -> Record | None:
        """See SagaStore."""
        async with self._database.connection() as connection:
            await connection.execute(statements.CANCEL, saga_id, reason)
        return await self.get(saga_id)

    async def resume(self, saga_id: str) -> Record | None:
        """See SagaStore."""
        async with self._database.connection() as connection:
            await connection.execute(statements.RESUME, saga_id)
        return await self.get(saga_id)

    async def get(self, saga_id: str) -> Record | None:
        """See SagaStore."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statements.READ, [saga_id])
        return with_log(rows) if rows else None

    async def list(self, listing: Listing) -> Sequence[Record]:
        """See SagaStore."""
        states = [state.value for state in listing.states]
        created_at, saga_id = listing.after or (None, None)
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                statements.LIST,
                states,
                listing.blocked,
                self._versions,
                listing.quarantined,
                created_at,
                saga_id,
                listing.size,
            )
        return [record(row, row["updated_at"]) for row in rows]

    async def claim(self, limit: int) -> Sequence[Record]:
        """See SagaStore."""
        async with self._database.connection() as connection:
            limits = (limit, LEASE_S, QUARANTINE_AFTER, UNSPACED)
            rows = await connection.fetch(statements.CLAIM, self.replica_id, self._versions, *limits)
            claimed = [row["saga_id"] for row in rows if not row["quarantined"]]
            rows = await connection.fetch(statements.READ, claimed) if claimed else []
            found = [_readable(each) for each in by_saga(rows).values()]
            if None in found:
                unreadable = set(claimed) - {record.saga_id for record in found if record}
                await connection.execute(statements.PUT_DOWN_ALL, list(unreadable), self.replica_id)
        return [record for record in found if record]

    async def owned(self) -> Sequence[str]:
        """See SagaStore."""
        async with self._database.connection() as connection:
            return [row["saga_id"] for row in await connection.fetch(statements.OWNED, self.replica_id)]

    async def put_down(self, saga_id: str, epoch: int, seconds: float) -> None:
        """See SagaStore."""
        async with self._database.connection() as connection:
            await connection.execute(statements.PUT_DOWN, saga_id, self.replica_id, epoch, seconds)

    async def release(self) -> None:
        """See SagaStore."""
        async with self._database.connection() as connection:
            await connection.execute(statements.RELEASE, self.replica_id)

    async def _write_starts(
        self, connection: Connection, batch: Sequence[tuple[NewSaga, bool]]
    ) -> Sequence[Record | None]:
        """A record for each saga that is new."""
        firsts = {new.saga_id: (new, owned) for new, owned in reversed(batch)}
        fresh = dict(sorted(firsts.items()))  # in one order everywhere, so that two replicas do not deadlock
        rows = await connection.fetch(
            statements.START,
            self.replica_id,
            *columns([new_row(new, owned=owned) for new, owned in fresh.values()], 7),
            *columns([row for new, _ in fresh.values() for row in entry_rows(new.saga_id, new.entries)], 8),
        )
        started = {row["saga_id"]: row for row in rows}
        return [started_record(new, started.pop(new.saga_id)) if new.saga_id in started else None for new, _ in batch]

    async def _write_appends(self, connection: Connection, batch: Sequence[Append]) -> Sequence[Appended | None]:
        """None for each append that is fenced."""
        rows = await connection.fetch(
            statements.APPEND,
            self.replica_id,
            *columns([append_row(one) for one in batch], 6),
            *columns([row for one in batch for row in entry_rows(one.saga_id, one.entries)], 8),
        )
        stored = _appended(rows)
        if len(stored) < len(batch):
            stored |= await self._stored_before(connection, [one for one in batch if one.saga_id not in stored])
        return [stored.get(one.saga_id) for one in batch]

    async def _stored_before(self, connection: Connection, batch: Sequence[Append]) -> dict[str, Appended]:
        rows = await connection.fetch(
            statements.STORED,
            *columns([(one.saga_id, one.epoch) for one in batch], 2),
            *columns([(one.saga_id, e.sequence, e.path, e.kind.value) for one in batch for e in one.entries], 4),
        )
        return _appended(rows)


def _readable(rows: Sequence[asyncpg.Record]) -> Record | None:
    """None for a saga that this release cannot read: it must not hold up the others."""
    try:
        return with_log(rows)
    except ValueError:
        log.exception("saga_unreadable", saga__id=rows[0]["saga_id"])
        return None


def _appended(rows: Iterable[asyncpg.Record]) -> dict[str, Appended]:
    return {row["saga_id"]: Appended(row["at"], row["cancel_reason"]) for row in rows}
