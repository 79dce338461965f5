"""The outbox is bounded: it fills while the broker is away, refuses, and empties in order when the broker is back."""

import uuid
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import nats.errors
import pytest
from shop.inventory.v1.inventory_service_pb2 import AdjustStockRequest, AdjustStockResponse
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCancelRequested, OrderCompleted, OrderCreated
from structlog.testing import capture_logs
from structlog.typing import EventDict

from mesh import contract
from mesh.errors import Outage
from mesh.events.backlog import BACKLOG, Backlog
from mesh.events.bus import Bus
from mesh.events.outbox import relayed
from mesh.events.streams import Stream, provision
from mesh.postgres.database import Database, Transaction
from tests.broker import Broker
from tests.eventually import eventually
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

LIMIT = 40
FACT = contract.fact(OrderCreated)
STORY = (OrderCreated, OrderCancelRequested, OrderCancelled, OrderCompleted)
"""In this order about each key, whatever it may mean."""


@pytest.fixture
async def database(foundations: Foundations) -> AsyncGenerator[Database]:
    async with Database.open(await foundations.database(), "test") as database:
        yield database


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncGenerator[Broker]:
    async with Broker.open(tmp_path) as broker:
        yield broker


async def announce(database: Database, *order_ids: str) -> None:
    async with database.announcing(uuid.uuid4().hex) as tx:
        for order_id in order_ids:
            tx.announce(OrderCreated(order_id=order_id))


async def tell(database: Database, order_ids: list[str]) -> list[str]:
    """Announce the stories of these orders, side by side; their subjects."""
    told: list[str] = []
    for kind in STORY:
        for order_id in order_ids:
            async with database.announcing(uuid.uuid4().hex) as tx:
                tx.announce(kind(order_id=order_id))
            told.append(contract.fact(kind).subject(order_id))
    return told


async def stored(bus: Bus) -> list[str]:
    """The subjects in the stream, in its order."""
    stream = bus.client.jetstream()
    last = (await stream.stream_info(FACT.stream)).state.last_seq
    return [(await stream.get_msg(FACT.stream, number)).subject or "" for number in range(1, last + 1)]


async def test_it_fills_while_the_broker_is_down_refuses_and_is_sent_in_order_when_it_is_back(
    database: Database, broker: Broker
) -> None:
    orders = [f"order-{number}" for number in range(LIMIT // len(STORY))]
    await broker.start()
    async with (
        Bus.open(broker.url, "test") as bus,
        relayed(database, bus),
        Backlog.measured(database, LIMIT, every=0.05) as backlog,
    ):
        await bus.connected.wait()
        await take(bus, FACT.stream_subjects)
        await announce(database, "before")
        await eventually(lambda: has(bus, 1))

        await broker.kill()
        told = await tell(database, orders)
        await eventually(lambda: backlog.is_full)
        with pytest.raises(Outage, match="the outbox holds 40 facts that the broker has not taken"):
            await announce(database, "refused")

        await broker.start()
        await eventually(lambda: not backlog.is_full)
        await announce(database, "after")
        await eventually(lambda: has(bus, 1 + len(told) + 1))

        subjects = await stored(bus)
    assert sorted(subjects) == sorted({*told, FACT.subject("before"), FACT.subject("after")})
    assert_in_order(subjects, told, orders)


async def test_while_the_first_of_a_story_is_not_taken_none_of_it_overtakes(database: Database, broker: Broker) -> None:
    orders = [f"order-{number}" for number in range(5)]
    await broker.start()
    async with Bus.open(broker.url, "test") as bus:
        await bus.connected.wait()
        await take(bus, *(contract.fact(kind).subject("*") for kind in STORY[1:]))
        told = await tell(database, orders)
        with capture_logs() as logs:
            async with relayed(database, bus):
                await eventually(lambda: sum(entry["event"] == "story_stuck" for entry in logs) > 1)
                assert await stored(bus) == []

                await take(bus, FACT.stream_subjects)
                await eventually(lambda: has(bus, len(told)))
        assert_in_order(await stored(bus), told, orders)


def assert_in_order(subjects: list[str], told: list[str], orders: list[str]) -> None:
    for order_id in orders:
        of_order, of_told = ([each for each in some if each.endswith(f".{order_id}")] for some in (subjects, told))
        assert of_order == of_told


async def take(bus: Bus, *subjects: str) -> None:
    """Have the stream take these, and no others."""
    await provision(bus.client.jetstream(), [Stream(FACT.stream, subjects)], replicas=1)


async def has(bus: Bus, count: int) -> bool:
    try:
        return (await bus.client.jetstream().stream_info(FACT.stream)).state.messages >= count
    except (nats.errors.Error, TimeoutError):
        return False


async def test_a_full_outbox_refuses_what_announces_with_all_it_did_and_nothing_else(database: Database) -> None:
    await database.pool.execute("CREATE TABLE effect (id text)")

    async def silent(tx: Transaction) -> AdjustStockResponse:
        await tx.connection.execute("INSERT INTO effect VALUES ('silent')")
        return AdjustStockResponse()

    async def announcing(tx: Transaction) -> AdjustStockResponse:
        await tx.connection.execute("INSERT INTO effect VALUES ('announcing')")
        tx.announce(OrderCreated(order_id="1"))
        return AdjustStockResponse()

    async def reaction(tx: Transaction) -> None:
        await announcing(tx)

    once_per_event = database.once_per_event("test_OrderCreated", "event-1", datetime.now(UTC), (OrderCreated,))
    backlog = Backlog(database, LIMIT)
    backlog.take(LIMIT, 1.0)
    await database.once(request("silent"), AdjustStockResponse, silent)
    with pytest.raises(Outage, match="outbox"):
        await database.once(request("announcing"), AdjustStockResponse, announcing)
    with pytest.raises(Outage, match="outbox"):
        await once_per_event(reaction)
    assert await effects(database) == ["silent"]

    backlog.take(0, 0.0)
    await database.once(request("announcing"), AdjustStockResponse, announcing)
    await once_per_event(reaction)
    assert await effects(database) == ["silent", "announcing", "announcing"]


def request(request_id: str) -> AdjustStockRequest:
    return AdjustStockRequest(request_id=request_id, sku="A", delta=1)


async def effects(database: Database) -> list[str]:
    return [row["id"] for row in await database.pool.fetch("SELECT id FROM effect")]


@pytest.mark.parametrize(
    ("counts", "lines"),
    [
        ((19, 20, 21), ["error outbox_filling"]),
        ((40, 50), ["error outbox_full"]),
        ((20, 18, 20, 18), ["error outbox_filling"]),
        ((20, 17), ["error outbox_filling", "info outbox_drained"]),
        ((40, 36, 40, 36), ["error outbox_full"]),
        ((40, 35, 17), ["error outbox_full", "warning outbox_no_longer_full", "info outbox_drained"]),
        ((40, 0), ["error outbox_full", "info outbox_drained"]),
    ],
    ids=["half full", "full", "about half", "less than half", "about full", "less than full", "all at once"],
)
async def test_each_level_is_told_once_until_it_is_well_behind(
    database: Database, counts: tuple[int, ...], lines: list[str]
) -> None:
    backlog = Backlog(database, LIMIT)
    with capture_logs() as logs:
        for count in counts:
            backlog.take(count, 1.0)

    assert [line_of(entry) for entry in logs] == lines


def line_of(entry: EventDict) -> str:
    return f"{entry['log_level']} {entry['event']}"


async def test_a_replica_that_starts_with_a_full_outbox_refuses_at_once(database: Database) -> None:
    await announce(database, *(f"order-{number}" for number in range(LIMIT)))

    async with Backlog.measured(database, LIMIT) as backlog:
        assert backlog.is_full
        with pytest.raises(Outage):
            await announce(database, "refused")


async def test_counting_reads_only_what_waits(database: Database) -> None:
    await announce(database, *(f"order-{number}" for number in range(5000)))
    await database.pool.execute("UPDATE outbox SET sent_at = now() WHERE id % 1000 > 0")
    await database.pool.execute("VACUUM ANALYZE outbox")

    rows = await database.pool.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) {BACKLOG}", LIMIT)

    plan = "\n".join(row[0] for row in rows)
    assert "Index Scan using outbox_unsent" in plan
    assert "Rows Removed by Filter" not in plan
