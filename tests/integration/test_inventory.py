"""Inventory over a real database: whoever races, no piece of stock is lost or sold twice."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest

from mesh.errors import Outage, Refusal
from mesh.postgres.database import Connection, Database
from mesh.postgres.migrations.files import Migrations
from services.inventory import core
from services.inventory.core import Line, Reservation
from services.inventory.store import PostgresShelf
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

ORDER = "0193a8b0-0000-7000-8000-000000000001"
MUGS = (Line("MUG", 2),)


@pytest.fixture
async def database(foundations: Foundations) -> AsyncGenerator[Database]:
    migrations = Migrations.of("services.inventory")
    async with Database.open(await foundations.database(), "inventory", migrations) as database:
        async with database.transaction() as connection:
            await core.adjust_stock(PostgresShelf(connection), "MUG", 3, "Blue mug", ("EUR", 500))
        yield database


async def available(database: Database) -> int:
    return await database.pool.fetchval("SELECT available FROM stock")


async def reserve(database: Database, reservation_id: str = "r-1") -> Reservation:
    async with database.transaction() as connection:
        return await core.reserve_stock(PostgresShelf(connection), reservation_id, ORDER, MUGS)


async def release(database: Database) -> Reservation:
    async with database.transaction() as connection:
        return await core.release_stock(PostgresShelf(connection), "r-1", ORDER)


class Overtaken(PostgresShelf):
    """A shelf on which a reservation is made right after it was looked for."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection)
        self._database = database

    async def reservation(self, reservation_id: str) -> Reservation | None:
        found = await super().reservation(reservation_id)
        await reserve(self._database, reservation_id)
        return found


async def test_release_overtaken_by_its_reservation_puts_everything_back_when_repeated(database: Database) -> None:
    with pytest.raises(Outage):
        async with database.transaction() as connection:
            await core.release_stock(Overtaken(connection, database), "r-1", ORDER)
    assert await available(database) == 1

    released = [await release(database), await release(database)]

    assert released[0] == released[1]
    assert released[0].lines == MUGS
    assert await available(database) == 3


async def test_release_that_comes_first_bars_the_reservation(database: Database) -> None:
    await release(database)

    with pytest.raises(Refusal, match="released"):
        await reserve(database)
    assert await available(database) == 3


async def test_of_many_who_want_the_last_pieces_exactly_one_gets_them(database: Database) -> None:
    outcomes = await asyncio.gather(*(reserve(database, f"r-{number}") for number in range(20)), return_exceptions=True)

    refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert [refusal.reason for refusal in refused] == ["OUT_OF_STOCK"] * 19
    assert await available(database) == 1


async def deliver(database: Database, sku: str) -> None:
    while True:
        with suppress(Outage):
            async with database.transaction() as connection:
                await core.adjust_stock(PostgresShelf(connection), sku, 5, "Teapot", ("EUR", 3900))
                return


async def test_deliveries_of_a_new_item_at_the_same_time_all_count(database: Database) -> None:
    await asyncio.gather(*(deliver(database, "TEAPOT") for _ in range(8)))

    assert await database.pool.fetchval("SELECT available FROM stock WHERE sku = 'TEAPOT'") == 40
