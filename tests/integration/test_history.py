"""Reading a stream again: in its order, to its end or on from there, whatever somebody has put into it."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
from nats.js.api import StreamConfig
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCreated

from mesh.cloudevents import Event, NoEvent, announce
from mesh.errors import Outage
from mesh.events import history
from mesh.events.bus import Bus
from mesh.events.history import Recorded
from tests.broker import Broker
from tests.eventually import eventually

pytestmark = pytest.mark.integration

STREAM = "SHOP_EVENTS"
SUBJECTS = "shop.*.v1.*.*"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncGenerator[Broker]:
    async with Broker.open(tmp_path) as broker:
        await broker.start()
        yield broker


@pytest.fixture
async def bus(broker: Broker) -> AsyncGenerator[Bus]:
    """With an empty stream."""
    async with Bus.open(broker.url, "test") as bus:
        await bus.connected.wait()
        await bus.client.jetstream().add_stream(StreamConfig(STREAM, subjects=[SUBJECTS], allow_direct=True))
        yield bus


async def publish(bus: Bus, event: Event) -> None:
    await bus.publish(event.stream, event.subject, event.payload, event.headers)


async def announced(bus: Bus, count: int = 1, order_id: str | None = None) -> list[str]:
    """So many facts, each about an order of its own if not about this one. Returns the orders."""
    order_ids = [order_id or str(uuid.uuid4()) for _ in range(count)]
    for each in order_ids:
        await publish(bus, announce(OrderCreated(order_id=each), "orders", uuid.uuid4().hex))
    return order_ids


async def read(bus: Bus, subject: str = SUBJECTS) -> list[Recorded]:
    return [each async for each in history.read(bus, STREAM, subject)]


async def test_a_fact_is_read_as_it_was_announced(bus: Bus) -> None:
    order_id = str(uuid.uuid4())
    event = announce(OrderCreated(order_id=order_id), "orders", "a cause: größer")
    await publish(bus, event)

    (found,) = await read(bus)

    assert found.fact() == OrderCreated(order_id=order_id)
    assert (found.sequence, found.key, found.source) == (1, order_id, "orders")
    assert (found.event_id, found.kind) == (event.headers["ce-id"], "shop.orders.v1.OrderCreated")
    assert (found.announced_at, found.cause) == (event.announced_at, "a cause: größer")
    assert found.stored_at >= found.announced_at


async def test_facts_are_read_in_the_order_in_which_they_were_stored_however_many(bus: Bus) -> None:
    order_ids = await announced(bus, history.PAGE + 10)

    found = await read(bus)

    assert [each.key for each in found] == order_ids
    assert [each.sequence for each in found] == list(range(1, len(order_ids) + 1))


async def test_a_page_says_whether_there_is_more(bus: Bus) -> None:
    order_ids = await announced(bus, 3)

    first = await history.page(bus, STREAM, SUBJECTS, size=2)
    last = await history.page(bus, STREAM, SUBJECTS, start=3, size=2)
    none = await history.page(bus, STREAM, SUBJECTS, start=4, size=2)

    assert ([each.key for each in first.records], first.is_last) == (order_ids[:2], False)
    assert ([each.key for each in last.records], last.is_last) == (order_ids[2:], True)
    assert (none.records, none.is_last) == ((), True)


async def test_only_what_was_asked_for_is_read(bus: Bus) -> None:
    one, other = await announced(bus, 2)
    await publish(bus, announce(OrderCancelled(order_id=one), "orders", "cause"))

    assert [each.key for each in await read(bus, f"*.*.*.*.{one}")] == [one, one]
    assert [each.key for each in await read(bus, "*.*.*.OrderCreated.*")] == [one, other]
    assert await read(bus, f"*.*.*.*.{uuid.uuid4()}") == []


async def test_the_past_can_begin_at_a_moment(bus: Bus) -> None:
    await announced(bus, 2)
    (since,) = [each.stored_at for each in await read(bus) if each.sequence == 2]

    found = [each.sequence async for each in history.read(bus, STREAM, SUBJECTS, since)]

    assert found == [2]


@pytest.mark.parametrize(
    ("headers", "payload", "problem"),
    [
        ({}, b"", "type of the message is not known here"),
        ({"ce-id": "1", "ce-type": "shop.orders.v1.OrderPraised"}, b"", "OrderPraised is not known here"),
        ({"ce-id": "1", "ce-type": "google.protobuf.Timestamp"}, b"", "is no fact"),
        ({"ce-id": "1", "ce-type": "shop.orders.v1.OrderCreated"}, b"\xff\xff", "payload is not a"),
        ({"Status": "404"}, b"", "not known here"),
        ({"Status": "204", "Nats-Sequence": "7", "Nats-Num-Pending": "0"}, b"", "not known here"),
        ({"ce-time": "yesterday", "traceparent": "x"}, b"", "not known here"),
    ],
    ids=["bare", "unknown", "no fact", "garbage", "like nothing", "like the end", "odd"],
)
async def test_what_is_no_fact_is_read_and_says_so(
    bus: Bus, headers: dict[str, str], payload: bytes, problem: str
) -> None:
    await bus.publish(STREAM, f"shop.orders.v1.OrderCreated.{uuid.uuid4()}", payload, headers)
    await announced(bus)

    odd, _ = await read(bus)

    assert (odd.sequence, odd.payload, odd.announced_at) == (1, payload, odd.stored_at)
    with pytest.raises(NoEvent, match=problem):
        odd.fact()


async def test_a_stream_that_is_not_there_is_an_outage(bus: Bus) -> None:
    with pytest.raises(Outage, match="history of ELSEWHERE"):
        await history.page(bus, "ELSEWHERE", ">")


async def test_a_broker_that_is_gone_is_an_outage(broker: Broker, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PATIENCE", 0.5)
    await broker.kill()

    with pytest.raises(Outage):
        await read(bus)


class Follower:
    """Keeps what it is told."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.heard: list[str] = []

    async def run(self) -> None:
        async with aclosing(history.follow(self._bus, STREAM, history.EVERYTHING, 1, rings=SUBJECTS)) as facts:
            async for each in facts:
                self.heard.append(each.key)


@pytest.fixture
async def follower(bus: Bus) -> AsyncGenerator[Follower]:
    follower = Follower(bus)
    running = asyncio.ensure_future(follower.run())
    yield follower
    running.cancel()
    await asyncio.wait([running])


async def test_a_follower_is_told_of_what_was_and_of_what_comes(bus: Bus, follower: Follower) -> None:
    before = await announced(bus, 3)
    await eventually(lambda: follower.heard == before)

    after = await announced(bus, 3)

    await eventually(lambda: follower.heard == before + after)


async def test_a_follower_misses_nothing_when_the_broker_is_killed_and_comes_back(
    broker: Broker, bus: Bus, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PATIENCE", 0.5)
    before = await announced(bus, 3)
    await eventually(lambda: follower.heard == before)

    await broker.kill()
    await broker.start()
    await eventually(lambda: bus.client.is_connected)
    after = await announced_when_it_is_back(bus)

    await eventually(lambda: follower.heard == before + after)


async def announced_when_it_is_back(bus: Bus) -> list[str]:
    """As a relay does: until the stream has it."""
    event = announce(OrderCreated(order_id=str(uuid.uuid4())), "orders", "cause")
    while True:
        try:
            await publish(bus, event)
        except Outage:
            continue
        return [event.key]
