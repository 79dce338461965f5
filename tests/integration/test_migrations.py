"""Schema migrations on a real database: each happens once, and those who work on the tables go on meanwhile."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from mesh.postgres.database import Database
from mesh.postgres.migrations.apply import LOCK, migrate
from mesh.postgres.migrations.due import pending
from mesh.postgres.migrations.files import KIT, OUTSIDE, Migration, MigrationError, Migrations
from tests.eventually import eventually
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
THING = Migration("0001_thing.sql", "CREATE TABLE thing (id text, size bigint);")
COLOUR = Migration("0002_colour.sql", "ALTER TABLE thing ADD COLUMN colour text;")
NO_SIZE = Migration("0003_no_size.after.sql", "ALTER TABLE thing DROP COLUMN size;")
WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'thing'::regclass AND NOT granted)"
COLUMNS = "SELECT array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns"
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'thing_id'::regclass"


def ours(*files: Migration) -> Migrations:
    return Migrations("test", files)


@pytest.fixture
async def url(foundations: Foundations) -> str:
    return await foundations.database()


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def columns(url: str) -> list[str]:
    async with connected(url) as connection:
        return await connection.fetchval(f"{COLUMNS} WHERE table_name = 'thing'") or []


async def test_a_migration_is_applied_once_though_many_start_together(url: str) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(migrate(url, (KIT, ours(THING, COLOUR))))

    async with connected(url) as connection:
        applied = await connection.fetch("SELECT name FROM migration WHERE owner = 'test' ORDER BY number")
    assert [name for (name,) in applied] == [THING.name, COLOUR.name]


async def test_a_file_that_was_changed_since_is_refused_by_name(url: str) -> None:
    await migrate(url, [ours(THING)])

    with pytest.raises(MigrationError, match=r"0001_thing\.sql"):
        async with Database.open(url, "test", ours(Migration(THING.name, "CREATE TABLE thing (id bigint);"))):
            pass


async def test_a_migration_that_fails_leaves_nothing_and_is_applied_once_it_is_repaired(url: str) -> None:
    broken = Migration(COLOUR.name, f"{COLOUR.sql}\nALTER TABLE nothing ADD COLUMN colour text;")

    with pytest.raises(MigrationError, match=r'0002_colour\.sql failed.*relation "nothing" does not exist'):
        await migrate(url, [ours(THING, broken)])
    assert await columns(url) == ["id", "size"]

    await migrate(url, [ours(THING, COLOUR)])
    assert await columns(url) == ["id", "size", "colour"]


async def test_what_takes_away_waits_until_it_is_told_that_the_roll_out_is_over(url: str) -> None:
    everything = ours(THING, COLOUR, NO_SIZE)
    await migrate(url, [ours(THING)])

    await migrate(url, [everything])
    assert await columns(url) == ["id", "size", "colour"]

    await migrate(url, [everything], pending)
    assert await columns(url) == ["id", "colour"]


async def test_old_code_starts_on_a_newer_database(url: str) -> None:
    async with (
        Database.open(url, "test", ours(THING, COLOUR)),
        Database.open(url, "test", ours(THING)) as old,
        old.connection() as connection,
    ):
        await connection.execute("INSERT INTO thing (id, size) VALUES ('lamp', 1)")


async def test_a_database_from_before_there_were_migrations_is_taken_over(url: str) -> None:
    payment = Migrations.of("services.payment")
    async with connected(url) as connection:
        for file in (*KIT.files, *payment.files):
            await connection.execute(file.sql)
        await connection.execute("INSERT INTO fence (saga_id, epoch) VALUES (gen_random_uuid(), 7)")

    async with Database.open(url, "payment", payment) as database:
        assert await database.pool.fetchval("SELECT epoch FROM fence") == 7


async def test_who_has_nothing_to_apply_does_not_wait_for_who_has(url: str) -> None:
    await migrate(url, (KIT, ours(THING)))

    async with connected(url) as other:
        await other.execute("SELECT pg_advisory_lock($1)", LOCK)
        async with asyncio.timeout(10), Database.open(url, "test", ours(THING)) as database:
            assert await database.answers()


async def test_a_migration_that_waits_for_a_table_lets_its_readers_pass(url: str) -> None:
    await migrate(url, [ours(THING)])
    async with connected(url) as busy, connected(url) as reader:
        async with busy.transaction():
            await busy.fetch("SELECT FROM thing")
            migrating = asyncio.ensure_future(migrate(url, [ours(THING, COLOUR)]))
            await eventually(lambda: reader.fetchval(WAITING))
            await reader.fetch("SELECT FROM thing")  # queues behind the migration, which gives up
            assert not migrating.done()
        await migrating

    assert await columns(url) == ["id", "size", "colour"]


async def test_an_index_is_made_beside_a_working_table_and_anew_if_it_was_half_made(url: str) -> None:
    index = "CREATE UNIQUE INDEX CONCURRENTLY thing_id ON thing (id);"
    files = ours(THING, Migration("0002_index.sql", f"{OUTSIDE}DROP INDEX CONCURRENTLY IF EXISTS thing_id;\n{index}\n"))
    await migrate(url, [ours(THING)])
    async with connected(url) as connection:
        await connection.execute("INSERT INTO thing VALUES ('lamp', 1), ('lamp', 2)")

        with pytest.raises(MigrationError, match=r"0002_index\.sql failed, and is still due"):
            await migrate(url, [files])
        assert await connection.fetchval(VALID) is False

        await connection.execute("DELETE FROM thing WHERE size = 2")
        await asyncio.gather(*(migrate(url, [files]) for _ in range(3)))
        assert await connection.fetchval(VALID) is True


async def test_a_migration_that_fails_does_not_quote_the_row(url: str) -> None:
    await migrate(url, [ours(THING)])
    async with connected(url) as connection:
        await connection.execute("INSERT INTO thing VALUES ('Grace Hopper'), ('Grace Hopper')")

    with pytest.raises(MigrationError) as caught:
        await migrate(url, [ours(THING, Migration("0002_index.sql", "CREATE UNIQUE INDEX ON thing (id);"))])
    assert "Hopper" not in f"{caught.value}{caught.value.__cause__}"


async def by_hand(url: str, folder: Path, *arguments: str) -> tuple[int | None, list[list[str]], str]:
    """The exit status of the command, the lines of its list in words, and what went wrong."""
    environment = {**os.environ, "ENSEMBLE_DATABASE_URL": url, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    command = (sys.executable, "-m", "mesh.postgres.migrations", *arguments)
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    lines = [line.split() for line in out.decode().splitlines()]
    return process.returncode, [words for words in lines if words[0] == "shelf"], err.decode().strip()


async def test_a_person_applies_and_lists_migrations(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "shelf" / "migrations"
    folder.mkdir(parents=True)
    (folder / THING.name).write_text(THING.sql)

    assert (await by_hand(url, tmp_path, "shelf", "status"))[1] == [["shelf", THING.name, "due"]]
    assert [line[:3] for line in (await by_hand(url, tmp_path, "shelf", "before"))[1]] == [
        ["shelf", THING.name, "applied"]
    ]

    (folder / COLOUR.name).write_text(COLOUR.sql)
    (folder / NO_SIZE.name).write_text(NO_SIZE.sql)
    _, listed, _ = await by_hand(url, tmp_path, "shelf", "before")
    assert [line[2:] for line in listed[2:]] == [["due", "after", "the", "roll-out"]]
    status, listed, _ = await by_hand(url, tmp_path, "shelf", "after")
    assert (status, [line[2] for line in listed]) == (0, ["applied"] * 3)
    assert await columns(url) == ["id", "colour"]


async def test_a_person_is_told_in_a_sentence_what_cannot_be_done(url: str, tmp_path: Path) -> None:
    assert await by_hand(url, tmp_path, "mesh.rpc", "status") == (1, [], "mesh.rpc has no migrations")
    assert await by_hand(url, tmp_path, "nowhere", "status") == (1, [], "No module named 'nowhere'")
    status, _, told = await by_hand("postgresql://127.0.0.1:1/nowhere", tmp_path, "services.payment", "status")
    assert status == 1
    assert told.startswith("the database does not answer: ")
