"""The Order service over a real database: whoever races, an answered cancel stays."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from shop.inventory.v1.inventory_facts_pb2 import InventoryReleased

from mesh.changes import Changes
from mesh.errors import Outage, Refusal
from mesh.postgres.database import Connection, Database
from mesh.postgres.migrations.files import Migrations
from services.orders import core, store
from services.orders.core import Line, Order, Reason, State
from services.orders.events import OrderListener
from services.orders.store import PostgresBook
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

ORDER = Order("0193a8b0-0000-7000-8000-000000000001", choreographed=False, customer_id="ada", lines=(Line("MUG", 2),))


@pytest.fixture
async def database(foundations: Foundations) -> AsyncGenerator[Database]:
    migrations = Migrations.of("services.orders")
    async with Database.open(await foundations.database(), "orders", migrations) as database:
        yield database


async def create(book: PostgresBook) -> None:
    await core.create_order(book, ORDER)
    book.record(store.own("OrderCreated"))
    await book.write()


async def cancel(database: Database) -> None:
    async with database.transaction() as connection:
        book = PostgresBook(connection)
        await core.cancel_order(book, ORDER.order_id, Reason.OUT_OF_STOCK)
        await book.write()


class Overtaken(PostgresBook):
    """A book in which an order is cancelled right after it was looked for."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection)
        self._database = database

    async def order(self, order_id: str) -> Order | None:
        found = await super().order(order_id)
        await cancel(self._database)
        return found


async def test_a_create_overtaken_by_its_cancel_is_refused_when_repeated(database: Database) -> None:
    with pytest.raises(Outage):
        async with database.transaction() as connection:
            await create(Overtaken(connection, database))

    with pytest.raises(Refusal, match="cancelled before it was made"):
        async with database.transaction() as connection:
            await create(PostgresBook(connection))
    async with database.connection() as connection:
        story = await store.story(connection, ORDER.order_id)
    assert story is not None
    assert (story.order.state, story.order.reason) == (State.CANCELLED, Reason.OUT_OF_STOCK)


@pytest.mark.parametrize(
    ("choreographed", "reason"), [(True, "ORDER_CHOREOGRAPHED"), (False, "ORDER_ORCHESTRATED")], ids=["saga", "facts"]
)
async def test_an_order_is_not_made_again_for_the_other_mode(
    database: Database, choreographed: bool, reason: str
) -> None:
    first = replace(ORDER, choreographed=choreographed)
    for _ in range(2):  # a repeat in its own mode is welcome
        async with database.transaction() as connection:
            book = PostgresBook(connection)
            assert (await core.create_order(book, first))[0] == first
            await book.write()

    with pytest.raises(Refusal) as refusal:
        async with database.transaction() as connection:
            await core.create_order(PostgresBook(connection), replace(ORDER, choreographed=not choreographed))
    assert refusal.value.reason == reason


@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
@pytest.mark.parametrize("later_first", [True, False], ids=["later first", "earlier first"])
async def test_of_a_fact_that_is_announced_twice_the_earlier_is_on_the_timeline(
    database: Database, together: bool, later_first: bool
) -> None:
    async with database.transaction() as connection:
        book = PostgresBook(connection)
        await core.create_order(book, replace(ORDER, choreographed=True))
        await book.write()
    listener, earlier = OrderListener(Changes()), datetime(2026, 3, 1, 12, tzinfo=UTC)
    moments = sorted([earlier, earlier + timedelta(seconds=1)], reverse=later_first)

    learned = [
        listener.on_fact(
            InventoryReleased(order_id=ORDER.order_id),
            database.once_per_event("orders_InventoryReleased", str(at), at, leads_to=()),
        )
        for at in moments
    ]
    for group in [learned] if together else [[each] for each in learned]:
        await asyncio.gather(*group)

    async with database.connection() as connection:
        story = await store.story(connection, ORDER.order_id)
    assert story is not None
    assert [(entry.event, entry.at) for entry in story.timeline] == [("InventoryReleased", earlier)]
