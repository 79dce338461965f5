"""Reactions that see the facts of each key in their order, over a real broker, with replicas that are killed."""

import random
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from shop.orders.v1.orders_facts_pb2 import OrderCreated

from mesh.cloudevents import Event
from mesh.errors import Outage, refused
from mesh.events import resolution
from mesh.events.bus import Bus
from mesh.events.consumer import TRIES_MAX
from mesh.events.ordered import Ordered
from mesh.events.reaction import Reaction
from mesh.events.resolution import Operator
from mesh.postgres.database import Database
from tests.broker import Broker
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.ordering import GROUP, PARTITIONS, TABLES, Ledger, World, killed, seen, story

pytestmark = pytest.mark.integration

OPERATOR = Operator("test@here")


@pytest.fixture
async def world(foundations: Foundations, tmp_path: Path) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(Broker.open(tmp_path / "nats"))
        await broker.start()
        url = await foundations.database()
        database = await stack.enter_async_context(Database.open(url, "test", TABLES))
        bus = await stack.enter_async_context(Bus.open(broker.url, "test"))
        await bus.connected.wait()
        world = World(broker, bus, url, database, stack)
        await world.provision()
        yield world


def interleaved(keys: int, length: int, seed: int) -> list[Event]:
    """Stories of so many keys, told at the same time."""
    chance = random.Random(seed)  # noqa: S311 - it is to be foreseen
    stories = [story(str(uuid.uuid4()), length) for _ in range(keys)]
    turns = [each for each in stories for _ in each]
    chance.shuffle(turns)
    tellers = {id(each): iter(each) for each in stories}
    return [next(tellers[id(each)]) for each in turns]


def refuses(world: World, event: Event, times: int = 1) -> None:
    world.ledger.failures[event.headers["ce-id"]] = [refused("NO", "not this one")] * times


async def park(world: World, length: int = 3) -> list[Event]:
    """A story whose first fact is refused, and of which everything is dead letters."""
    events = story(str(uuid.uuid4()), length)
    refuses(world, events[0])
    await world.listen()
    await world.publish(*events)
    await eventually(world.has_letters(events[0].key, length))
    return events


async def test_each_key_keeps_its_order_with_failures_duplicates_and_a_replica_that_is_killed(world: World) -> None:
    events = interleaved(keys=20, length=12, seed=1)
    half = len(events) // 2
    replicas = [await world.process(seed) for seed in range(3)]

    async def under_way() -> bool:
        return sum(map(len, (await seen(world.database)).values())) > half // 2

    await world.publish(*events[:half])
    await eventually(under_way)
    await killed(replicas[0])
    await world.publish_again(*events[:half:6])
    await world.publish(*events[half:])
    await world.process(seed=4)

    await eventually(world.has_handled(*events))
    assert await world.parked() == []


async def test_another_number_of_partitions_breaks_no_order_while_both_are_at_work(world: World) -> None:
    events = interleaved(keys=20, length=10, seed=3)
    await world.publish(*events[:100])
    await world.provision(partitions=7)
    await world.process(1)
    await world.process(2, partitions=7)

    await world.publish(*events[100:])

    await eventually(world.has_handled(*events))


async def test_a_dead_letter_parks_its_key_and_no_other(world: World) -> None:
    parked = await park(world)
    others = interleaved(keys=10, length=3, seed=4)

    await world.publish(*others)

    await eventually(world.has_handled(*others))
    assert parked[0].key not in await seen(world.database)
    letters, ids = await world.letters(parked[0].key), [event.headers["ce-id"] for event in parked]
    assert [letter.headers["ce-id"] for letter in letters] == ids
    behind = f"comes after {ids[0]}, which was not handled"
    assert [letter.reason for letter in letters] == ["not this one", behind, behind]


async def test_letters_that_are_replayed_in_order_let_their_key_go_on(world: World) -> None:
    events = await park(world)
    for letter in await world.letters(events[0].key):
        await resolution.replay(world.bus, letter, OPERATOR)
    await eventually(world.has_handled(*events))
    await eventually(world.is_released)

    *_, last = story(events[0].key, len(events) + 1)
    await world.publish(last)

    await eventually(world.has_handled(*events, last))


async def test_a_letter_that_is_replayed_too_early_becomes_one_again(world: World) -> None:
    events = await park(world)
    for letter in reversed(await world.letters(events[0].key)):
        await resolution.replay(world.bus, letter, OPERATOR)
    await eventually(world.has_handled(events[0]))

    async def replayed() -> bool:
        for letter in await world.letters(events[0].key):
            await resolution.replay(world.bus, letter, OPERATOR)
        return await world.is_released()

    await eventually(replayed)

    await eventually(world.has_handled(*events))


async def test_a_letter_that_is_replayed_in_vain_keeps_its_key_parked(world: World) -> None:
    events = await park(world)
    first, *_ = await world.letters(events[0].key)
    refuses(world, events[0])

    await resolution.replay(world.bus, first, OPERATOR)

    async def is_back() -> bool:
        *_, last = await world.letters(events[0].key)
        return last.headers["ce-id"] == events[0].headers["ce-id"]

    await eventually(is_back)
    assert await world.parked() == [events[0].key] * 3
    assert events[0].key not in await seen(world.database)


async def test_a_letter_that_is_discarded_holds_up_nothing_any_more(world: World) -> None:
    events = await park(world)
    first, *others = await world.letters(events[0].key)
    await resolution.discard(world.bus, first, OPERATOR)

    async def passed_over() -> bool:
        return len(await world.parked()) == len(others)

    await eventually(passed_over)
    for letter in others:
        await resolution.replay(world.bus, letter, OPERATOR)

    await eventually(world.has_handled(*events[1:]))
    await world.publish_again(events[0])
    after = story(str(uuid.uuid4()), 1)
    await world.publish(*after)
    await eventually(world.has_handled(*after))
    assert await world.has_handled(*events[1:])()


async def test_facts_that_are_published_again_are_no_letters_although_their_key_is_parked(world: World) -> None:
    events = story(str(uuid.uuid4()), 3)
    refuses(world, events[1])
    await world.listen()
    await world.publish(*events)
    await eventually(world.has_letters(events[0].key, 2))

    await world.publish_again(events[0])
    await world.publish(*(after := story(str(uuid.uuid4()), 1)))

    await eventually(world.has_handled(*after))
    await eventually(world.has_handled(events[0]))
    assert await world.has_letters(events[0].key, 2)()


async def test_an_outage_uses_up_no_tries_and_loses_no_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.events.ordered.DELAY_MAX", 0.05)
    events = story(str(uuid.uuid4()), 3)
    world.ledger.failures[events[1].headers["ce-id"]] = [Outage("away") for _ in range(3 * TRIES_MAX)]
    for _ in range(3):
        await world.listen()

    await world.publish(*events)

    await eventually(world.has_handled(*events))
    assert await world.letters(events[0].key) == []


async def test_a_bug_ends_as_a_dead_letter_that_parks_its_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.events.ordered.DELAY_MAX", 0.05)
    events = story(str(uuid.uuid4()), 2)
    world.ledger.failures[events[0].headers["ce-id"]] = [ValueError("bug") for _ in range(TRIES_MAX)]
    await world.listen()

    await world.publish(*events)

    await eventually(world.has_letters(events[0].key, 2))
    assert (await world.letters(events[0].key))[0].reason == "bug"
    assert await world.parked() == [events[0].key] * 2


async def test_a_fact_that_nobody_answers_for_is_buried_untried(world: World) -> None:
    events = story(str(uuid.uuid4()), 2)
    await world.publish(*events)
    await deliver_in_vain(world, len(events))

    await world.listen()

    await eventually(world.has_letters(events[0].key, 2))
    assert (await world.letters(events[0].key))[0].reason.startswith("nobody survives it")
    assert events[0].key not in await seen(world.database)


async def deliver_in_vain(world: World, stored: int) -> None:
    """Use up the deliveries of the first fact of so many, as a process does that dies of it each time."""
    jetstream, group = world.bus.client.jetstream(), world.ledger.group(GROUP, PARTITIONS)
    stream = group.stream.name

    async def has_arrived() -> bool:
        return (await jetstream.stream_info(stream)).state.messages == stored

    await eventually(has_arrived)
    first = await jetstream.get_msg(stream, 1)
    durable = group.durables()[int((first.subject or "").split(".")[1])]
    await world.bus.consume(stream, durable.config())
    subscription = await jetstream.pull_subscribe_bind(durable.name, stream)
    for _ in range(TRIES_MAX):
        (message,) = await subscription.fetch(1)
        await message.nak()
    await subscription.unsubscribe()


async def test_what_never_was_an_event_is_buried_and_parks_nothing(world: World) -> None:
    await world.listen()
    (event,) = story(str(uuid.uuid4()), 1)
    await world.bus.publish(event.stream, event.subject, b"\xff", {})

    await world.publish(event)

    await eventually(world.has_handled(event))
    (letter,) = await world.letters(event.key)
    assert "no ce-id" in letter.reason


async def test_nothing_that_anybody_may_write_stops_a_partition(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.events.ordered.DELAY_MAX", 0.05)  # an id that no index can hold fails as a bug does
    await world.provision(partitions=1)
    await world.listen(partitions=1)
    (event,) = story(str(uuid.uuid4()), 1)
    for odd in (
        {"ce-id": "\0"},
        {"ce-id": "".join(uuid.uuid4().hex for _ in range(250))},
        {"ce-type": "\0"},
        {"ce-id": "%00"},
        {"ce-time": ""},
    ):
        headers = event.headers | {"Nats-Msg-Id": uuid.uuid4().hex, "ce-id": uuid.uuid4().hex} | odd
        await world.bus.publish(event.stream, event.subject, event.payload, headers)
    (other,) = story(str(uuid.uuid4()), 1)
    world.ledger.failures[other.headers["ce-id"]] = [refused("NO", "\0")] * 100
    await world.publish(other)
    for key in ("x" * 2000, "\0", "\u2028"):
        await world.bus.publish(event.stream, f"{event.kind}.{key}", event.payload, event.headers)

    after = story(str(uuid.uuid4()), 1)
    await world.publish(*after)

    await eventually(world.has_handled(*after))


async def test_an_event_that_cannot_be_read_parks_its_key(world: World) -> None:
    await world.listen()
    first, second = story(str(uuid.uuid4()), 2)
    await world.bus.publish(first.stream, first.subject, b"\xff\xff", first.headers)
    await world.publish(second)

    await eventually(world.has_letters(first.key, 2))
    assert await world.parked() == [first.key] * 2


@pytest.mark.parametrize(
    ("name", "partitions", "reason"),
    [("test_ledger", 4, "no name for a group"), ("test-ledger", 0, "takes one at least")],
)
def test_a_group_that_makes_no_sense_is_refused(name: str, partitions: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Ordered(name, (Reaction(OrderCreated, Ledger().react),), partitions)
