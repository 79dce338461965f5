"""The relay of the outbox when its holder freezes, when one story is stuck, and events beside a frozen transaction."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import pytest
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCreated

from mesh.errors import Outage
from mesh.events.bus import Bus
from mesh.events.outbox import relayed
from mesh.postgres.database import Database, Once, Transaction
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.relay import Relay
from tests.tables import tables

pytestmark = pytest.mark.integration

TABLES = tables("CREATE TABLE thing (id text PRIMARY KEY, size int NOT NULL)")
TOO_LARGE = "UPDATE outbox SET payload = decode(repeat('00', 1100000), 'hex') WHERE key = $1 AND sent_at IS NULL"


@pytest.fixture
async def bus(foundations: Foundations) -> AsyncGenerator[Bus]:
    async with Bus.open(foundations.nats_url, "test") as bus:
        await bus.connected.wait()
        yield bus


@asynccontextmanager
async def two_replicas(foundations: Foundations) -> AsyncGenerator[tuple[Database, Relay, Database]]:
    """One whose cable to the database can be cut, and another one."""
    url = await foundations.database()
    async with AsyncExitStack() as stack:
        cable = await stack.enter_async_context(Relay.open(urlsplit(url).netloc.rpartition("@")[2]))
        user = urlsplit(url).netloc.rpartition("@")[0]
        by_cable = urlunsplit(urlsplit(url)._replace(netloc=f"{user}@{cable.address}"))
        whole = await stack.enter_async_context(Database.open(url, "test", TABLES))
        frail = await stack.enter_async_context(Database.open(by_cable, "test", TABLES))
        yield frail, cable, whole


async def announce(database: Database, *order_ids: str) -> None:
    async with database.announcing(uuid.uuid4().hex) as tx:
        for order_id in order_ids:
            tx.announce(OrderCreated(order_id=order_id))


async def unsent(database: Database) -> int:
    return await database.pool.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")


async def test_a_relay_that_is_cut_off_loses_its_lock_and_another_takes_over(
    foundations: Foundations, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.events.outbox.FROZEN_SECONDS", 2)

    async def all_sent() -> bool:
        return await unsent(whole) == 0

    async with two_replicas(foundations) as (frail, cable, whole), relayed(frail, bus):
        await announce(whole, str(uuid.uuid4()))
        await eventually(all_sent)
        async with relayed(whole, bus):
            cable.cut()
            await announce(whole, str(uuid.uuid4()))
            await eventually(all_sent)
            cable.heal()


async def test_a_story_that_the_bus_does_not_take_holds_up_only_itself(foundations: Foundations, bus: Bus) -> None:
    stuck, free = [[str(uuid.uuid4()) for _ in range(count)] for count in (250, 100)]
    async with Database.open(await foundations.database(), "test", TABLES) as database:
        await announce(database, *stuck)
        await database.pool.executemany(TOO_LARGE, [(order_id,) for order_id in stuck])
        await announce(database, *free)
        async with database.announcing("later") as tx:
            tx.announce(OrderCancelled(order_id=stuck[0]))

        async def others_are_sent() -> bool:
            return await unsent(database) == len(stuck) + 1

        async with relayed(database, bus):
            await eventually(others_are_sent)
        left = {row["key"] for row in await database.pool.fetch("SELECT key FROM outbox WHERE sent_at IS NULL")}
        assert left == set(stuck)  # the later fact of the first one has not overtaken it


async def test_a_replica_that_is_cut_off_in_a_transaction_does_not_hold_up_the_events_of_others(
    foundations: Foundations,
) -> None:
    async def grow(once: Once, name: str) -> None:
        async def work(tx: Transaction) -> None:
            await tx.connection.execute("UPDATE thing SET size = size + 1 WHERE id = $1", name)

        while True:
            try:
                return await once(work)
            except Outage:
                await asyncio.sleep(0.1)

    names = [f"thing-{number}" for number in range(20)]
    async with two_replicas(foundations) as (frail, cable, whole):
        await whole.pool.executemany("INSERT INTO thing VALUES ($1, 0)", [(name,) for name in names])
        frozen = await frail.pool.acquire()
        await frozen.execute("BEGIN")
        await frozen.execute("UPDATE thing SET size = 99 WHERE id = $1", names[0])
        cable.cut()
        once = [whole.once_per_event("a_Created", name, datetime.now(UTC), (OrderCreated,), name) for name in names]
        async with asyncio.timeout(20):
            await asyncio.gather(*(grow(each, name) for each, name in zip(once, names, strict=True)))
        cable.heal()
        assert {row["size"] for row in await whole.pool.fetch("SELECT size FROM thing")} == {1}
