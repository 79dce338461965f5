"""A PostgreSQL whose second instance is away: a commit waits for it, and nobody sees what is not safe."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import asyncpg
import pytest

from cli.stack import postgres
from cli.stack.layout import Layout
from cli.stack.ports import free_port_base
from cli.stack.supervisor import Supervisor
from mesh.postgres.database import Database
from tests.eventually import eventually
from tests.tables import tables

pytestmark = pytest.mark.integration

TABLES = tables("CREATE TABLE effect (number int)")
WRITE = "INSERT INTO effect VALUES (1)"
WAITS = "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
PASSWORD = "of the test"


@pytest.fixture
async def url(tmp_path: Path) -> AsyncGenerator[str]:
    """Of a server of its own: others' commits are not to wait."""
    program = postgres.program(tmp_path / "postgres", Layout(free_port_base()).ports["postgres"], PASSWORD)
    await postgres.initialise(tmp_path / "postgres", PASSWORD)
    supervisor = Supervisor(tmp_path, restart=False, report=print, changed=lambda: None)
    try:
        await supervisor.start([program])
        yield program.probe
    finally:
        await supervisor.stop()


@pytest.fixture
async def database(url: str) -> AsyncGenerator[Database]:
    async with Database.open(url, "test", TABLES) as database:
        yield database


@pytest.fixture
async def observer(url: str, database: Database) -> AsyncGenerator[asyncpg.Connection]:
    """Somebody else, after the second instance has gone."""
    connection = await asyncpg.connect(url, server_settings={"synchronous_commit": "local"})
    await second_instance(connection, "away")
    yield connection
    await connection.close()


async def second_instance(connection: asyncpg.Connection, name: str) -> None:
    """Have the server wait for the instance of that name; for none, if it is empty."""
    await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await connection.execute("SELECT pg_reload_conf()")

    async def is_told() -> bool:
        return await connection.fetchval("SHOW synchronous_standby_names") == name

    await eventually(is_told)


@pytest.mark.parametrize("patience", ["until it is cancelled", "for so many seconds"])
async def test_a_commit_that_its_caller_gave_up_is_seen_by_nobody_before_a_second_instance_has_it(
    database: Database, observer: asyncpg.Connection, patience: str
) -> None:
    cancelled = patience == "until it is cancelled"
    writing = asyncio.create_task(database.pool.execute(WRITE, timeout=None if cancelled else 2))
    await eventually(lambda: observer.fetchval(WAITS))
    if cancelled:
        writing.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else TimeoutError):
        await writing

    assert await database.pool.fetchval("SELECT count(*) FROM effect") == 0
    assert await observer.fetchval(WAITS)

    await second_instance(observer, "")

    await eventually(lambda: database.pool.fetchval("SELECT count(*) = 1 FROM effect"))
