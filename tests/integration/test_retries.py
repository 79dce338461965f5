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

from mesh import again, contract, dead_letters, durable
from mesh.bus import Bus
from mesh.cloudevents import announce
from mesh.consumer import Listener, pulled
from mesh.database import Database, Once, Transaction
from mesh.dead_letters import Letter, Which
from mesh.durable import Durable
from mesh.errors import Outage
from mesh.exhausted import ALONE_TRIES, Exhausted
from mesh.pull import Handle
from mesh.reaction import Reaction, Reactor
from tests.eventually import eventually
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

FACT = contract.fact(OrderCreated)


@dataclass
class World:
    """A service whose facts are delivered twice at the most, and quickly."""

    bus: Bus
    database: Database
    service: str = field(default_factory=lambda: f"test{uuid.uuid4().hex[:8]}")
    handled: Counter[str] = field(default_factory=Counter[str])
    down: bool = False
    """Whether what the handler needs does not answer."""

    def hasty(self, *order_ids: str) -> Durable:
        """The durable of the reaction, for these orders only."""
        subjects = tuple(FACT.subject(order_id) for order_id in order_ids)
        return replace(durable.of_fact(self.service, FACT), subjects=subjects, max_deliver=2, ack_wait=0.3)

    @property
    def listener(self) -> Listener:
        reaction = Reaction(OrderCreated, self.react)
        return Listener(self.service, [Reactor(self.service, reaction, self.database)], self.bus)

    async def react(self, fact: OrderCreated, once: Once) -> None:
        if self.down:
            raise Outage("the gateway is away")

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
    async def consuming(self, source: Durable, handle: Handle) -> AsyncGenerator[None]:
        async with pulled(self.bus, [(source, handle)]):
            yield


@pytest.fixture
async def world(foundations: Foundations) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(await foundations.database(), "test", ""))
        bus = await stack.enter_async_context(Bus.open(foundations.nats_url, "test"))
        await bus.connected.wait()
        yield World(bus, database)


async def test_an_outage_that_outlives_the_deliveries_is_tried_again_all_the_same(world: World) -> None:
    order_id = str(uuid.uuid4())
    listener, source = world.listener, replace(world.hasty(order_id), ack_wait=5)
    world.down = True
    sent_again = durable.of_again(world.service)
    async with (
        world.consuming(source, partial(listener.hear, source)),
        world.consuming(sent_again, partial(listener.hear, sent_again)),
    ):
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


async def test_what_no_process_survives_is_buried_and_its_neighbours_are_handled(world: World) -> None:
    """A process that dies answers for nothing that it had in hand, whichever fact killed it."""
    deadly, innocent = str(uuid.uuid4()), str(uuid.uuid4())
    listener, source = world.listener, world.hasty(deadly, innocent)
    tried: Counter[str] = Counter()

    async def dies(message: Msg) -> None:
        tried[message.subject.rpartition(".")[2]] += 1

    async def dies_of_one(message: Msg) -> None:
        if message.subject.endswith(deadly):
            tried["alone"] += 1
            raise Outage("this process is no more")
        await listener.hear(replace(source, max_deliver=1), message)

    async def bury(message: Msg, reason: str) -> None:
        await dead_letters.bury(world.bus, message, source.name, reason)

    async with world.consuming(source, dies):
        for order_id in (deadly, innocent):
            await world.announce(order_id)
        await eventually(lambda: tried[deadly] == source.max_deliver and tried[innocent] == source.max_deliver)
        given_up = replace(durable.of_exhausted(world.service, [source]), ack_wait=1.0)
        exhausted = Exhausted(world.bus, [source], dies_of_one, bury)
        async with world.consuming(given_up, exhausted.handle):
            await eventually(partial(_is_told_apart, world, innocent))

    (letter,) = await world.letters()
    assert letter.key == deadly
    assert "no process survives it" in letter.reason
    assert tried["alone"] == ALONE_TRIES
    assert (world.handled[innocent], world.handled[deadly]) == (1, 0)


async def _is_told_apart(world: World, innocent: str) -> bool:
    return bool(await world.letters()) and world.handled[innocent] == 1


async def test_a_fact_sent_again_to_who_does_not_react_to_it_is_a_dead_letter(world: World) -> None:
    order_id, listener = str(uuid.uuid4()), world.listener
    sent_again = durable.of_again(world.service)
    subject = again.subject(world.service, f"shop.orders.v1.OrderForgotten.{order_id}")
    async with world.consuming(sent_again, partial(listener.hear, sent_again)):
        await world.bus.publish("AGAIN", subject, b"", {"ce-id": "1"})
        which = Which(durable=sent_again.name)

        async def buried() -> list[Any]:
            return [letter async for letter in dead_letters.letters(world.bus, which)]

        await eventually(buried)
    (letter,) = await buried()
    assert letter.reason == f"{world.service} does not react to it"
