"""Applying migrations: each once, by one process at a time, without holding up those who work on the tables."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import structlog

from mesh.postgres.errors import OUTAGES, discreet
from mesh.postgres.migrations.due import Applied, Choice, Record, due_at_start
from mesh.postgres.migrations.files import Migration, MigrationError, Migrations

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.postgres.migrations")

LOCK = 1
"""The advisory lock of whoever changes the schema."""
PATIENCE = {"idle_session_timeout": "5s", "idle_in_transaction_session_timeout": "5s"}
"""Whoever is frozen or cut off while he has the lock does not keep it for longer than this."""
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
"""Everybody queues behind a statement that waits for a table, readers included: it gives up, and they get on."""
LONGEST_S = 3600.0
"""An index on a large table takes its time; who applies it may have been cut off from the database, though."""
PAUSE_S = 1.0
LOOK_S = 0.2
TABLE = """
CREATE TABLE IF NOT EXISTS migration (
    owner      text NOT NULL,
    number     integer NOT NULL,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, number)
)
"""
RECORD = "INSERT INTO migration (owner, number, name, checksum) VALUES ($1, $2, $3, $4)"
RECORDED = "SELECT number, name, checksum, applied_at FROM migration WHERE owner = $1 ORDER BY number"

Link: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def migrate(url: str, owners: Sequence[Migrations], choice: Choice = due_at_start) -> None:
    """Apply what is due of each owner, in order; whoever comes meanwhile waits.

    Raises MigrationError, or one of OUTAGES; what was applied until then stays, and the rest is still due.
    """
    async with _connected(url) as connection:
        if not await _due(connection, owners, choice):
            return  # a replica that is started again does not wait for a newer one's migrations
        await _alone(connection)
        await connection.execute(TABLE)
        for owner, migration in await _due(connection, owners, choice):
            await _apply(connection, owner, migration)


async def recorded(url: str, owners: Iterable[Migrations]) -> list[Applied]:
    """What was applied of each owner. Raises one of OUTAGES."""
    async with _connected(url) as connection:
        return [await _recorded(connection, each.owner) for each in owners]


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator[Link]:
    connection = await asyncpg.connect(url, timeout=5, command_timeout=10, server_settings=PATIENCE)
    try:
        yield connection
        await connection.close(timeout=5)
    finally:
        connection.terminate()  # if it is still open: what was begun is rolled back, and the lock is let go


async def _alone(connection: Link) -> None:
    """Be the only one to change the schema, for as long as the connection lives.

    It asks again and again, because CREATE INDEX CONCURRENTLY would wait for a statement that waits for the lock.
    """
    while True:
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            return
        await asyncio.sleep(LOOK_S)


async def _due(connection: Link, owners: Sequence[Migrations], choice: Choice) -> list[tuple[str, Migration]]:
    return [
        (each.owner, migration)
        for each in owners
        for migration in choice(each, await _recorded(connection, each.owner))
    ]


async def _recorded(connection: Link, owner: str) -> Applied:
    if await connection.fetchval("SELECT to_regclass('migration')") is None:
        return {}
    rows = await connection.fetch(RECORDED, owner)
    return {row["number"]: Record(row["name"], row["checksum"], row["applied_at"]) for row in rows}


async def _apply(connection: Link, owner: str, migration: Migration) -> None:
    run = _in_transaction if migration.in_transaction else _outside_transaction
    while True:
        try:
            with discreet():
                await run(connection, owner, migration)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            log.warning("migration_waits", owner=owner, name=migration.name, error=repr(error))
            await asyncio.sleep(PAUSE_S)
        except OUTAGES:
            raise
        except asyncpg.PostgresError as error:
            raise MigrationError(f"{owner}: {migration.name} failed, and is still due: {error}") from error
        else:
            log.info("migration_applied", owner=owner, name=migration.name)
            return


async def _in_transaction(connection: Link, owner: str, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(LOCK_TIMEOUT)
        await connection.execute(migration.sql, timeout=LONGEST_S)
        await _record(connection, owner, migration)


async def _outside_transaction(connection: Link, owner: str, migration: Migration) -> None:
    for statement in migration.statements:
        await connection.execute(statement, timeout=LONGEST_S)
    await _record(connection, owner, migration)


async def _record(connection: Link, owner: str, migration: Migration) -> None:
    await connection.execute(RECORD, owner, migration.number, migration.name, migration.checksum)
