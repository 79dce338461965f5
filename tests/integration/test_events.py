"""From the outbox to the reaction, over a real broker."""

import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCreated
from structlog.testing import capture_logs

from mesh import contract
from mesh.cloudevents import announce
from mesh.errors import Outage, Refusal, refused
from mesh.events.bus import Bus
from mesh.events.consumer import ALONE_MAX, consuming
from mesh.events.dead_letters import STREAM as DEAD_LETTERS
from mesh.events.outbox import relayed
from mesh.events.reaction import Reaction
from mesh.postgres.database import Database, Once, Transaction
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.tables import tables

pytestmark = pytest.mark.integration

TABLES = tables("CREATE TABLE effect (order_id text)")
STREAM = contract.fact(OrderCreated).stream
CONTROL_LINE_MAX = 4096
"""Bytes of a command without its payload that NATS takes."""


class Listener:
    """A reaction whose effect is a row, and which fails as often as told."""

    def __init__(self) -> None:
        self.failures: dict[str, list[Exception]] = {}

    async def react(self, fact: OrderCreated, once: Once) -> None:
        if failures := self.failures.get(fact.order_id):
            raise failures.pop()

        async def work(tx: Transaction) -> None:
            await tx.connection.execute("INSERT INTO effect VALUES ($1)", fact.order_id)

        await once(work)


class World:
    """A service with an outbox and a listener, on a bus of its own name."""

    def __init__(self, database: Database, bus: Bus, stack: AsyncExitStack) -> None:
        self.database = database
        self.bus = bus
        self.listener = Listener()
        self.service = f"test{uuid.uuid4().hex[:8]}"
        self._stack = stack

    async def listen(self) -> None:
        reaction = Reaction(OrderCreated, self.listener.react, leads_to=(OrderCancelled,))
        await self._stack.enter_async_context(consuming(self.service, [reaction], self.database, self.bus))

    async def announce(self, *order_ids: str) -> None:
        async with self.database.announcing(uuid.uuid4().hex) as tx:
            for order_id in order_ids:
                tx.announce(OrderCreated(order_id=order_id))

    async def handled(self) -> Counter[str]:
        """How often each order was handled."""
        return Counter(row["order_id"] for row in await self.database.pool.fetch("SELECT order_id FROM effect"))

    async def dead_letters(self) -> list[dict[str, str]]:
        stream = self.bus.client.jetstream()
        info = await stream.stream_info(DEAD_LETTERS.name, subjects_filter=f"dead.{self.service}_OrderCreated.>")
        subjects = info.state.subjects or {}
        found = [await stream.get_last_msg(DEAD_LETTERS.name, subject) for subject in subjects]
        return [message.headers or {} for message in found]


@pytest.fixture
async def world(foundations: Foundations) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(await foundations.database(), "test", TABLES))
        bus = await stack.enter_async_context(Bus.open(foundations.nats_url, "test"))
        await stack.enter_async_context(relayed(database, bus))
        await bus.connected.wait()
        yield World(database, bus, stack)


def order_ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


def has_handled(world: World, wanted: list[str], times: int = 1) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        handled = await world.handled()
        return all(handled[order_id] >= times for order_id in wanted)

    return condition


async def test_what_is_committed_is_handled_once(world: World) -> None:
    wanted = order_ids(300)
    await world.listen()

    await world.announce(*wanted)

    await eventually(has_handled(world, wanted))
    assert max((await world.handled()).values()) == 1


async def test_nothing_is_lost_or_handled_twice_while_listeners_come_and_go(world: World) -> None:
    wanted = order_ids(1000)
    reaction = Reaction(OrderCreated, world.listener.react, leads_to=(OrderCancelled,))
    await world.announce(*wanted)
    for count in range(100, 600, 100):
        async with consuming(world.service, [reaction], world.database, world.bus):

            async def under_way(count: int = count) -> bool:
                return len(await world.handled()) >= count

            await eventually(under_way)

    await world.listen()

    await eventually(has_handled(world, wanted))
    assert max((await world.handled()).values()) == 1


async def test_facts_announced_before_anyone_listens_are_not_lost(world: World) -> None:
    wanted = order_ids(3)
    await world.announce(*wanted)

    await world.listen()

    await eventually(has_handled(world, wanted))


async def test_an_outage_is_tried_again_until_it_is_over(world: World) -> None:
    wanted = order_ids(1)
    world.listener.failures[wanted[0]] = [Outage("no database") for _ in range(3)]
    await world.listen()

    await world.announce(*wanted)

    await eventually(has_handled(world, wanted))


async def test_the_same_event_published_again_is_handled_once(world: World) -> None:
    wanted = order_ids(2)
    await world.listen()
    await world.announce(*wanted)
    await eventually(has_handled(world, wanted))
    event = announce(OrderCreated(order_id=wanted[0]), "test", "again")
    await world.bus.publish(event.stream, event.subject, event.payload, event.headers)
    await eventually(has_handled(world, wanted[:1], times=2))

    headers = {**event.headers, "Nats-Msg-Id": uuid.uuid4().hex}
    await world.bus.publish(event.stream, event.subject, event.payload, headers)
    last = order_ids(1)
    await world.announce(*last)

    await eventually(has_handled(world, last))
    assert (await world.handled())[wanted[0]] == 2


@pytest.mark.parametrize(
    ("headers", "payload", "reason"),
    [
        ({}, b"", "no ce-id header"),
        ({"ce-id": "1"}, b"", "ce-type is None"),
        ({"ce-id": "1", "ce-type": "shop.orders.v1.OrderCreated"}, b"\xff\xff", "payload is not a"),
        ({"ce-id": "1", "ce-type": "shop.orders.v1.OrderCreated"}, b"", "order_id is not the subject's"),
        ({"ce-id": "1", "ce-type": "shop.orders.v1.OrderCancelled"}, b"", "ce-type is shop.orders.v1.OrderCancelled"),
        ({"Status": "100"}, b"", "no ce-id header"),
        ({"Nats-Expected-Last-Subject-Sequence": "0", "Nats-Expected-Last-Msg-Id": ""}, b"", "no ce-id header"),
        ({}, b"x" * ((1 << 20) - 300), "no ce-id header"),
        ({"Padding": "x" * 65_250}, b"", "no ce-id header"),
    ],
    ids=["bare", "no type", "garbage", "no key", "another type", "like a status", "expectant", "huge", "huge headers"],
)
async def test_what_can_never_be_handled_is_buried_with_its_reason(
    world: World, headers: dict[str, str], payload: bytes, reason: str
) -> None:
    await world.listen()
    await eventually(lambda: _exists(world))
    order_id = order_ids(1)[0]
    await world.bus.publish(STREAM, f"shop.orders.v1.OrderCreated.{order_id}", payload, headers)

    async def buried() -> bool:
        return any(reason in letter["Dead-Reason"] for letter in await world.dead_letters())

    await eventually(buried)
    await world.announce(order_id)
    await eventually(has_handled(world, [order_id]))  # the consumer goes on


async def test_a_dead_letter_that_was_refused_is_handled_when_it_is_sent_again(world: World) -> None:
    order_id = order_ids(1)[0]
    event = announce(OrderCreated(order_id=order_id), "test", "cause")
    handle = world.database.once_per_event("test_OrderCreated", event.headers["ce-id"], datetime.now(UTC))

    async def refuse(tx: Transaction) -> None:
        await tx.connection.execute("INSERT INTO effect VALUES ($1)", order_id)
        raise refused("NOT_YET", "not yet")

    async def accept(tx: Transaction) -> None:
        await tx.connection.execute("INSERT INTO effect VALUES ($1)", order_id)

    with pytest.raises(Refusal):
        await handle(refuse)
    assert await world.handled() == {}

    await handle(accept)
    assert await world.handled() == {order_id: 1}


async def test_a_connection_that_the_server_closes_for_good_is_opened_anew(world: World) -> None:
    await world.listen()
    await eventually(lambda: _exists(world))
    lost = world.bus.client
    # An error that the server sends when it has read everything: what it had not read would reset the connection,
    # and the client might never see why.
    await lost.publish("too.long." + "x" * CONTROL_LINE_MAX)
    await eventually(lambda: lost.is_closed)

    wanted = order_ids(3)
    await world.announce(*wanted)

    await eventually(has_handled(world, wanted))


async def test_a_fact_that_is_too_large_is_an_outage_and_costs_no_connection(world: World) -> None:
    await world.listen()
    await eventually(lambda: _exists(world))
    client = world.bus.client

    with pytest.raises(Outage, match="more than the server takes"):
        await world.bus.publish(STREAM, "shop.orders.v1.OrderCreated.1", b"x" * client.max_payload, {"with": "headers"})

    wanted = order_ids(1)
    await world.announce(*wanted)
    await eventually(has_handled(world, wanted))
    assert world.bus.client is client


async def test_the_relay_outlives_an_error_that_nobody_foresaw(world: World) -> None:
    wanted = order_ids(1)
    await world.listen()
    await world.database.pool.execute("ALTER TABLE outbox RENAME TO misplaced")
    with capture_logs() as logs:
        await eventually(lambda: any(line["event"] == "relay_failed" for line in logs))
    await world.database.pool.execute("ALTER TABLE misplaced RENAME TO outbox")

    await world.announce(*wanted)

    await eventually(has_handled(world, wanted))


async def test_a_bug_in_a_handler_ends_as_a_dead_letter_and_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.events.consumer.TRIES_MAX", 2)
    wanted = order_ids(1)
    world.listener.failures[wanted[0]] = [ValueError("bug") for _ in range(2 + ALONE_MAX)]
    await world.listen()
    await world.announce(*wanted)

    async def buried() -> bool:
        return any("bug" in letter["Dead-Reason"] for letter in await world.dead_letters())

    await eventually(buried)
    later = order_ids(1)
    await world.announce(*later)
    await eventually(has_handled(world, later))
    assert wanted[0] not in await world.handled()


async def test_facts_of_one_story_arrive_in_the_stream_in_the_order_of_their_commits(world: World) -> None:
    order_id = order_ids(1)[0]
    async with world.database.announcing("first") as tx:
        tx.announce(OrderCreated(order_id=order_id))
        tx.announce(OrderCancelled(order_id=order_id))

    await world.listen()
    await eventually(has_handled(world, [order_id]))

    stream = world.bus.client.jetstream()
    sequences = []
    for fact in ("OrderCreated", "OrderCancelled"):

        async def stored(fact: str = fact) -> bool:
            info = await stream.stream_info(STREAM, subjects_filter=f"shop.orders.v1.{fact}.{order_id}")
            return bool(info.state.subjects)

        await eventually(stored)
        sequences.append((await stream.get_last_msg(STREAM, f"shop.orders.v1.{fact}.{order_id}")).seq)
    assert sequences == sorted(sequences)


async def _exists(world: World) -> bool:
    stream = world.bus.client.jetstream()
    names = [info.name for info in await stream.consumers_info(STREAM)] if await _has_stream(world) else []
    return f"{world.service}_OrderCreated" in names


async def _has_stream(world: World) -> bool:
    names = [info.config.name for info in await world.bus.client.jetstream().streams_info()]
    return STREAM in names
