"""Timelines, written anew from what the stream has, part by part."""

import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from google.protobuf.message import Message
from nats.js.api import StreamConfig
from shop.inventory.v1.inventory_facts_pb2 import InventoryReserved
from shop.orders.v1.orders_facts_pb2 import OrderCancelRequested, OrderCreated
from shop.orders.v1.orders_service_pb2 import (
    GetOrderRequest,
    RebuildTimelinesRequest,
    RebuildTimelinesResponse,
    SubmitOrderRequest,
)

from mesh.changes import Changes
from mesh.cloudevents import announce
from mesh.errors import Outage, Refusal
from mesh.events import history
from mesh.events.bus import Bus
from mesh.events.outbox import relayed
from mesh.identity import new_id
from mesh.postgres.database import Database
from mesh.postgres.migrations.files import Migrations
from services.orders import rpc
from services.orders.rpc import OrderServicer
from tests.broker import Broker
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.outside import CALL
from tests.purchases import purchase

pytestmark = pytest.mark.integration

STREAM = "SHOP_EVENTS"


class Orders:
    """The Order service's RPC door, its outbox, and a stream."""

    def __init__(self, database: Database, bus: Bus, broker: Broker) -> None:
        self.database = database
        self.bus = bus
        self.broker = broker
        self._rpc = OrderServicer(database, bus, Changes(), fulfilment_seconds=300)

    async def submit(self) -> str:
        """A new order. Returns its id once the stream has it."""
        order_id = new_id()
        await self._rpc.SubmitOrder(
            SubmitOrderRequest(request_id=order_id, order_id=order_id, purchase=purchase()), CALL
        )
        await eventually(self._all_is_sent)
        return order_id

    async def announce(self, fact: Message, source: str) -> None:
        event = announce(fact, source, uuid.uuid4().hex)
        await self.bus.publish(event.stream, event.subject, event.payload, event.headers)

    async def timeline(self, order_id: str) -> list[tuple[str, str, str]]:
        order = (await self._rpc.GetOrder(GetOrderRequest(order_id=order_id), CALL)).order
        return [(entry.source, entry.event, entry.detail) for entry in order.timeline]

    async def rebuild(self, **wanted: str) -> RebuildTimelinesResponse:
        """One part."""
        request = RebuildTimelinesRequest(**{"request_id": uuid.uuid4().hex, **wanted})
        return await self._rpc.RebuildTimelines(request, CALL)

    async def forget_timelines(self) -> None:
        await self.database.pool.execute("DELETE FROM timeline")

    async def _all_is_sent(self) -> bool:
        return not await self.database.pool.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")


@pytest.fixture
async def orders(foundations: Foundations, tmp_path: Path) -> AsyncGenerator[Orders]:
    migrations = Migrations.of("services.orders")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(await foundations.database(), "orders", migrations))
        broker = await stack.enter_async_context(Broker.open(tmp_path))
        await broker.start()
        bus = await stack.enter_async_context(Bus.open(broker.url, "test"))
        await bus.connected.wait()
        await bus.client.jetstream().add_stream(StreamConfig(STREAM, subjects=["shop.*.v1.*.*"], allow_direct=True))
        await stack.enter_async_context(relayed(database, bus))
        yield Orders(database, bus, broker)


CREATED = ("orders", "OrderCreated", "")


async def test_each_part_says_where_the_next_begins(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "REBUILD_PAGE", 2)
    order_ids = [await orders.submit() for _ in range(5)]
    await orders.forget_timelines()

    parts = [await orders.rebuild()]
    while token := parts[-1].next_page_token:
        parts.append(await orders.rebuild(page_token=token))

    assert [(part.facts, part.orders, part.entries_written) for part in parts] == [(2, 2, 2), (2, 2, 2), (1, 1, 1)]
    assert [await orders.timeline(order_id) for order_id in order_ids] == [[CREATED]] * 5


async def test_a_repeat_gets_the_first_answer(orders: Orders) -> None:
    await orders.submit()
    await orders.forget_timelines()

    first = await orders.rebuild(request_id="once")

    assert await orders.rebuild(request_id="once") == first
    assert first.entries_written == 1


async def test_what_others_announced_is_told_too(orders: Orders) -> None:
    order_id = await orders.submit()
    await orders.announce(InventoryReserved(order_id=order_id), "inventory")

    await orders.rebuild()

    assert await orders.timeline(order_id) == [CREATED, ("inventory", "InventoryReserved", "")]


async def test_an_entry_of_a_fact_that_the_stream_does_not_have_stays(orders: Orders) -> None:
    order_id = await orders.submit()
    await orders.bus.client.jetstream().purge_stream(STREAM)

    done = await orders.rebuild()

    assert (done.facts, done.entries_written) == (0, 0)
    assert await orders.timeline(order_id) == [CREATED]


async def test_what_is_no_fact_and_whose_order_is_unknown_is_left_out(orders: Orders) -> None:
    order_id = await orders.submit()
    await orders.bus.publish(STREAM, f"shop.orders.v1.OrderCreated.{order_id}", b"\xff", {"ce-id": "1"})
    await orders.bus.publish(STREAM, f"shop.loyalty.v1.PointsEarned.{order_id}", b"", {"ce-id": "2"})
    await orders.announce(OrderCreated(order_id=new_id()), "orders")

    done = await orders.rebuild()

    assert (done.facts, done.entries_written, done.next_page_token) == (4, 0, "")


async def test_a_reason_that_a_newer_service_gives_is_told_by_its_number(orders: Orders) -> None:
    order_id = await orders.submit()
    newer = OrderCancelRequested.FromString(OrderCancelRequested(order_id=order_id).SerializeToString() + b"\x10\x63")
    await orders.announce(newer, "orders")

    await orders.rebuild(order_id=order_id)

    assert await orders.timeline(order_id) == [CREATED, ("orders", "OrderCancelRequested", "99")]


async def test_an_unknown_order_is_refused(orders: Orders) -> None:
    with pytest.raises(Refusal, match="there is no order"):
        await orders.rebuild(order_id=new_id())


async def test_without_the_broker_it_is_an_outage_and_can_be_repeated(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PATIENCE", 0.5)
    order_id = await orders.submit()
    await orders.forget_timelines()
    await orders.broker.kill()

    with pytest.raises(Outage):
        await orders.rebuild(request_id="once")
    await orders.broker.start()
    await eventually(lambda: orders.bus.client.is_connected)
    await eventually(lambda: _rebuilt(orders))

    assert await orders.timeline(order_id) == [CREATED]


async def _rebuilt(orders: Orders) -> bool:
    try:
        return (await orders.rebuild(request_id="once")).entries_written == 1
    except Outage:
        return False
