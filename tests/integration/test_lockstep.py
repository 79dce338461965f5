"""Several works on one connection: each gets its own answers, and together they ask less."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import copy_context

import pytest

from mesh.postgres import lockstep
from mesh.postgres.database import Database
from mesh.postgres.lockstep import Lockstep
from tests.foundations import Foundations
from tests.tables import tables

pytestmark = pytest.mark.integration

TABLES = tables("CREATE TABLE thing (id text PRIMARY KEY, size int NOT NULL CHECK (size >= 0))")
ADD = "INSERT INTO thing (id, size) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET id = thing.id RETURNING *"
THING = "SELECT * FROM thing WHERE id = $1"
GROW = "UPDATE thing SET size = size + $2 WHERE id = $1"


class Counted(Lockstep):
    """Counts round trips."""

    def __init__(self, real: lockstep.Connection) -> None:
        super().__init__(real)
        self.trips: Counter[str] = Counter()

    async def _answers(self, how: object, query: str, args: object) -> list[object]:
        self.trips[query] += 1
        return await super()._answers(how, query, args)  # pyright: ignore[reportArgumentType]


@pytest.fixture
async def database(foundations: Foundations) -> AsyncGenerator[Database]:
    async with Database.open(await foundations.database(), "test", TABLES) as database:
        yield database


async def together(database: Database, *works: Callable[[Lockstep], Awaitable[None]]) -> Counter[str]:
    """Run works in one transaction; returns the round trips by query."""
    async with database.transaction() as connection:
        step = Counted(connection)
        await step.run([(lambda work=work: work(step), copy_context()) for work in works])
        return step.trips


async def sizes(database: Database) -> dict[str, int]:
    return {row["id"]: row["size"] for row in await database.pool.fetch("SELECT * FROM thing")}


async def test_each_work_gets_its_own_answers_and_all_of_them_take_one_round_trip_each(database: Database) -> None:
    seen: dict[str, int | None] = {}

    async def work(step: Lockstep, name: str, size: int) -> None:
        added = await lockstep.get(step, ADD, name, size)
        assert added["id"] == name
        await step.execute(GROW, name, 100)
        found = await lockstep.find(step, THING, name)
        seen[name] = found and found["size"]

    names = [f"thing-{number}" for number in range(20)]
    trips = await together(
        database, *(lambda step, name=name, size=size: work(step, name, size) for size, name in enumerate(names))
    )

    assert seen == {name: 100 + size for size, name in enumerate(names)} == await sizes(database)
    assert trips == {ADD: 1, GROW: 1, THING: 1}


async def test_works_of_different_lengths_and_questions_do_not_wait_for_each_other_in_vain(database: Database) -> None:
    found: list[object] = []

    async def short(step: Lockstep) -> None:
        found.append(await lockstep.find(step, THING, "nothing"))

    async def silent(step: Lockstep) -> None:
        found.append("silent")

    async def long(step: Lockstep) -> None:
        await lockstep.get(step, ADD, "a", 1)
        await step.execute(GROW, "a", 1)
        found.append(await step.fetchval("SELECT size FROM thing WHERE id = $1", "a"))

    await together(database, short, silent, long)

    assert found == ["silent", None, 2]


async def test_one_that_fails_fails_all_and_nothing_is_written(database: Database) -> None:
    async def good(step: Lockstep) -> None:
        await lockstep.get(step, ADD, "good", 1)
        await step.execute(GROW, "good", 1)

    async def bad(step: Lockstep) -> None:
        await lockstep.get(step, ADD, "bad", 1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await together(database, good, bad)

    assert await sizes(database) == {}


async def test_what_the_database_refuses_fails_all(database: Database) -> None:
    async def work(step: Lockstep, size: int) -> None:
        await lockstep.get(step, ADD, str(size), size)

    before = asyncio.all_tasks()
    with pytest.raises(Exception, match="thing_size_check"):
        await together(database, lambda step: work(step, 1), lambda step: work(step, -1))

    assert await sizes(database) == {}
    assert asyncio.all_tasks() == before


async def test_a_query_that_is_not_by_its_key_is_found_out(database: Database) -> None:
    await database.pool.execute("INSERT INTO thing VALUES ('a', 1), ('b', 1)")

    async def work(step: Lockstep, name: str) -> None:
        await lockstep.find(step, "SELECT size, id FROM thing WHERE id = $1", name)

    with pytest.raises(ValueError, match="not by key"):
        await together(database, lambda step: work(step, "a"), lambda step: work(step, "b"))
