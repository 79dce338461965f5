"""What becomes of a fact that cannot be handled now, or kills whoever handles it."""

import uuid
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from nats.aio.msg import Msg
from shop.orders.v1.orders_facts_pb2 import OrderCreated
from structlog.testing import capture_logs

from mesh import contract
from mesh.cloudevents import announce
from mesh.errors import Outage
from mesh.events import again, dead_letters, durable
from mesh.events.again import Lane
from mesh.events.bus import Bus
from mesh.events.consumer import ALONE_MAX, Listener, pulled
from mesh.events.dead_letters import Letter, Which
from mesh.events.reaction import Reaction, Reactor, Then
from mesh.events.streams import AGAIN, provision
from mesh.postgres.database import Database, Once, Transaction
from tests.eventually import eventually
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

FACT = contract.fact(OrderCreated)


@dataclass
class World:
    """A service that reacts to new orders, and is impatient."""

    bus: Bus
    database: Database
    service: str = field(default_factory=lambda: f"test{uuid.uuid4().hex[:8]}")
    handled: Counter[str] = field(default_factory=Counter[str])
    failures: dict[str, list[Exception]] = field(default_factory=dict[str, list[Exception]])
    """Of orders, last first."""
    down: bool = False
    """Whether what the handler needs does not answer."""

    @property
    def reactor(self) -> Reactor:
        return Reactor(self.service, Reaction(OrderCreated, self.react), self.database)

    @property
    def listener(self) -> Listener:
        return Listener(self.service, [self.reactor], self.bus)

    async def react(self, fact: OrderCreated, once: Once) -> None:
        if self.down:
            raise Outage("the gateway is away")
        if failures := self.failures.get(fact.order_id):
            raise failures.pop()

        async def work(tx: Transaction) -> None:
            self.handled[fact.order_id] += 1

        await once(work)

    async def announce(self, order_id: str) -> None:
        event = announce(OrderCreated(order_id=order_id), "orders", uuid.uuid4().hex)
        await self.bus.publish(event.stream, event.subject, event.payload, event.headers)

    async def letters(self) -> list[Letter]:
        which = Which(durable=durable.of_fact(self.service, FACT).name)
        return [letter async for letter in dead_letters.letters(self.bus, which)]

    @asynccontextmanager
    async def hearing(self, listener: Listener, *order_ids: str) -> AsyncGenerator[None]:
        """Have it hear of these orders only."""
        await self.bus.connected.wait()
        undoing, others = listener.sources()
        assert undoing == []
        (_, told), *lanes = others
        told_of = [
            (replace(self.reactor.durable, name=f"{self.service}_{n}", subject=FACT.subject(each), ack_wait=0.3), told)
            for n, each in enumerate(order_ids)
        ]
        async with pulled(self.bus, [*told_of, *((replace(lane, ack_wait=0.3), handle) for lane, handle in lanes)]):
            yield


@pytest.fixture
async def world(foundations: Foundations) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(await foundations.database(), "test"))
        bus = await stack.enter_async_context(Bus.open(foundations.nats_url, "test"))
        await bus.connected.wait()
        yield World(bus, database)


async def test_an_outage_that_outlives_the_deliveries_is_tried_again_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.events.consumer.TRIES_MAX", 2)
    order_id, listener = str(uuid.uuid4()), world.listener
    world.down = True
    async with world.hearing(listener, order_id):
        await world.announce(order_id)
        await eventually(partial(_is_sent_again, world, order_id))
        world.down = False
        await eventually(lambda: world.handled[order_id] == 1)

    assert await world.letters() == []


async def _is_sent_again(world: World, order_id: str) -> bool:
    jetstream = world.bus.client.jetstream()
    subject = again.subject(world.service, FACT.subject(order_id))
    info = await jetstream.stream_info("AGAIN", subjects_filter=subject)
    return bool(info.state.subjects)


async def test_what_no_process_survives_is_buried_and_its_neighbours_are_handled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies answers for nothing that it had in hand, whichever fact killed it."""
    monkeypatch.setattr("mesh.events.consumer.TRIES_MAX", 2)
    deadly, innocent = str(uuid.uuid4()), str(uuid.uuid4())
    listener = Mortal(world, deadly)
    async with world.hearing(listener, deadly, innocent):
        for order_id in (deadly, innocent):
            await world.announce(order_id)
        await eventually(partial(_is_told_apart, world, innocent))

    (letter,) = await world.letters()
    assert letter.key == deadly
    assert letter.reason == "no process survives it: 7 deliveries, and no answer"
    assert listener.alone == ALONE_MAX
    assert (world.handled[innocent], world.handled[deadly]) == (1, 0)


class Mortal(Listener):
    """Dies of one fact, with all others that it has in hand; which is to say that nobody hears of them any more."""

    def __init__(self, world: World, deadly: str) -> None:
        super().__init__(world.service, [world.reactor], world.bus)
        self._deadly = deadly
        self.alone = 0

    async def hear(self, message: Msg) -> None:
        if message.metadata.num_delivered <= 2:
            return
        await super().hear(message)

    async def _settle(self, message: Msg, then: Then) -> None:
        if message.subject.startswith("alone.") and message.subject.endswith(self._deadly):
            self.alone += 1
            return
        await super()._settle(message, then)


async def _is_told_apart(world: World, innocent: str) -> bool:
    return bool(await world.letters()) and world.handled[innocent] == 1


async def test_a_bug_after_many_outages_is_tried_again_before_it_is_a_dead_letter(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.events.consumer.TRIES_MAX", 2)
    order_id = str(uuid.uuid4())
    world.failures[order_id] = [ValueError("a bug"), ValueError("a bug"), Outage("the gateway is away")]
    async with world.hearing(world.listener, order_id):
        await world.announce(order_id)
        await eventually(lambda: world.handled[order_id] == 1)

    assert await world.letters() == []


async def test_a_fact_sent_again_to_who_does_not_react_to_it_is_a_dead_letter(world: World) -> None:
    order_id, listener = str(uuid.uuid4()), world.listener
    sent_again = durable.of_lane(world.service, Lane.AGAIN)
    subject = again.subject(world.service, f"shop.orders.v1.OrderForgotten.{order_id}")
    async with pulled(world.bus, [(sent_again, listener.hear)]):
        await world.bus.publish("AGAIN", subject, b"", {"ce-id": "1"})
        which = Which(durable=sent_again.name)

        async def buried() -> list[Any]:
            return [letter async for letter in dead_letters.letters(world.bus, which)]

        await eventually(buried)
    (letter,) = await buried()
    assert letter.reason == f"{world.service} does not react to it"


async def test_an_outage_that_can_not_even_be_put_off_is_not_taken_for_a_death(world: World) -> None:
    order_id, alone = str(uuid.uuid4()), replace(durable.of_lane(world.service, Lane.ALONE), ack_wait=2)
    event = announce(OrderCreated(order_id=order_id), "orders", "cause")
    jetstream = world.bus.client.jetstream()
    world.down = True
    with capture_logs() as logs:
        async with pulled(world.bus, [(alone, world.listener.hear_alone)]):
            await provision(jetstream, [replace(AGAIN, subjects=("alone.>",))], replicas=1)
            try:
                subject = again.subject(world.service, event.subject, Lane.ALONE)
                await world.bus.publish(AGAIN.name, subject, event.payload, event.headers)
                await eventually(lambda: [each["event"] for each in logs].count("not_sent_again") > 4 * alone.ack_wait)
            finally:
                await provision(jetstream, [AGAIN], replicas=1)
            await eventually(partial(_is_sent_again, world, order_id))

    assert [each["event"] for each in logs].count("handled_alone") == 1
    assert await world.letters() == []
