"""What cannot be handled is buried, looked at, and replayed or discarded: once, whoever does it and however often."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from nats.aio.msg import Msg
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCreated
from shop.type.v1.purchase_pb2 import Purchase

from mesh import contract
from mesh.cloudevents import announce
from mesh.errors import Outage, Refusal, refused
from mesh.events import dead_letters, resolution
from mesh.events.bus import Bus
from mesh.events.consumer import consuming
from mesh.events.dead_letters import Letter, Which
from mesh.events.reaction import Reaction
from mesh.events.resolution import Operator
from mesh.postgres.database import Database, Once, Transaction
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.tables import tables

pytestmark = pytest.mark.integration

TABLES = tables("CREATE TABLE effect (key text)")
CREATED = contract.fact(OrderCreated)
ADA = Operator("ada@desk", "the cause is mended")


class Listener:
    """A service that refuses every fact until it is mended; then its effect is a row."""

    def __init__(self, service: str, database: Database) -> None:
        self.service = service
        self.is_mended = False
        self._database = database

    def reactions(self) -> tuple[Reaction[OrderCreated], Reaction[OrderCancelled]]:
        return Reaction(OrderCreated, self.react), Reaction(OrderCancelled, self.react)

    async def react(self, fact: OrderCreated | OrderCancelled, once: Once) -> None:
        if not self.is_mended:
            raise refused("NOT_YET", f"{self.service} is broken")

        async def work(tx: Transaction) -> None:
            await tx.connection.execute("INSERT INTO effect VALUES ($1)", fact.order_id)

        await once(work)

    async def handled(self) -> Counter[str]:
        return Counter(row["key"] for row in await self._database.pool.fetch("SELECT key FROM effect"))


class World:
    """Services on one bus."""

    def __init__(self, foundations: Foundations, bus: Bus, stack: AsyncExitStack) -> None:
        self.bus = bus
        self._foundations = foundations
        self._stack = stack

    async def service(self) -> Listener:
        """A service of a new name, that listens."""
        url = await self._foundations.database()
        database = await self._stack.enter_async_context(Database.open(url, "test", TABLES))
        listener = Listener(f"test{uuid.uuid4().hex[:8]}", database)
        listening = consuming(listener.service, listener.reactions(), database, self.bus)
        await self._stack.enter_async_context(listening)
        return listener

    async def announce(self, fact: OrderCreated | OrderCancelled) -> None:
        event = announce(fact, "test", uuid.uuid4().hex)
        await self.bus.publish(event.stream, event.subject, event.payload, event.headers)

    async def letters(self, listener: Listener, *, resolved: bool = False) -> list[Letter]:
        """The letters of this service's reaction to OrderCreated."""
        which = Which(durable=f"{listener.service}_OrderCreated")
        return [letter async for letter in dead_letters.letters(self.bus, which, resolved=resolved)]

    async def letter(self, listener: Listener, fact: OrderCreated) -> Letter:
        """The letter that this fact becomes."""
        await self.announce(fact)
        return (await self.buried(listener, 1))[-1]

    async def buried(self, listener: Listener, count: int) -> list[Letter]:
        async def are_there() -> bool:
            return len(await self.letters(listener)) >= count

        await eventually(are_there)
        return await self.letters(listener)

    async def handles(self, listener: Listener, key: str) -> None:
        async def has() -> bool:
            return (await listener.handled())[key] > 0

        await eventually(has)


@pytest.fixture
async def world(foundations: Foundations) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus.open(foundations.nats_url, "test"))
        await bus.connected.wait()
        await bus.client.jetstream().purge_stream(CREATED.stream)  # what other tests announced
        yield World(foundations, bus, stack)


def created() -> OrderCreated:
    return OrderCreated(order_id=str(uuid.uuid4()))


async def test_a_letter_tells_what_came_from_where_and_why_it_is_dead(world: World) -> None:
    listener, fact = await world.service(), created()

    letter = await world.letter(listener, fact)

    assert (letter.durable, letter.service) == (f"{listener.service}_OrderCreated", listener.service)
    assert (letter.kind, letter.key) == (CREATED.name, fact.order_id)
    assert letter.reason == f"{listener.service} is broken"
    assert letter.headers["Dead-Deliveries"] == "1"
    assert OrderCreated.FromString(letter.recorded.payload) == fact
    stream, sequence = letter.origin
    original = await world.bus.client.jetstream().get_msg(stream, sequence)
    assert (original.subject, original.data) == (CREATED.subject(fact.order_id), letter.recorded.payload)
    assert await dead_letters.letter(world.bus, letter.id) == letter


async def test_the_broker_tells_of_the_reason_too(world: World) -> None:
    listener, told = await world.service(), asyncio.Queue[Msg]()
    advisory = f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{CREATED.stream}.{listener.service}_OrderCreated"
    await world.bus.client.subscribe(advisory, cb=told.put)

    await world.announce(created())

    message = await asyncio.wait_for(told.get(), 30)
    assert f'"reason":"{listener.service} is broken"' in message.data.decode()


async def test_a_replay_reaches_the_service_that_buried_it_and_no_other(world: World) -> None:
    healthy, listener, fact = await world.service(), await world.service(), created()
    healthy.is_mended = True
    letter = await world.letter(listener, fact)
    await world.handles(healthy, fact.order_id)
    listener.is_mended = True

    assert await resolution.replay(world.bus, letter, ADA) is None

    await world.handles(listener, fact.order_id)
    assert await listener.handled() == {fact.order_id: 1}
    info = await world.bus.client.jetstream().consumer_info("AGAIN", f"{healthy.service}_again")
    assert (info.delivered and info.delivered.consumer_seq, info.num_pending) == (0, 0)


async def test_a_resolved_letter_is_put_away_with_who_when_how_and_why(world: World) -> None:
    listener, before = await world.service(), datetime.now(UTC)
    letter = await world.letter(listener, created())

    await resolution.discard(world.bus, letter, ADA)

    assert await world.letters(listener) == []
    (record,) = await world.letters(listener, resolved=True)
    assert (record.id, record.subject, record.reason) == (letter.id, letter.subject, letter.reason)
    assert record.headers["Resolved-As"] == "discarded"
    assert record.headers["Resolved-By"] == "ada@desk"
    assert record.headers["Resolved-Reason"] == "the cause is mended"
    assert before < datetime.fromisoformat(record.headers["Resolved-At"]) < datetime.now(UTC)
    assert record.recorded.payload == letter.recorded.payload
    assert await dead_letters.letter(world.bus, letter.id) == record


async def test_a_letter_that_fails_again_is_buried_again_under_its_first_subject(world: World) -> None:
    listener = await world.service()
    letter = await world.letter(listener, created())

    await resolution.replay(world.bus, letter, ADA)

    async def is_buried_again() -> bool:
        return [each.id for each in await world.letters(listener)] not in ([], [letter.id])

    await eventually(is_buried_again)
    (again,) = await world.letters(listener)
    assert (again.durable, again.subject, again.reason) == (letter.durable, letter.subject, letter.reason)
    assert again.origin[0] == "AGAIN"


@pytest.mark.parametrize("step", ["_record", "_delete"])
async def test_an_operator_who_dies_on_the_way_may_begin_again(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise Outage("killed")

    listener, fact = await world.service(), created()
    letter = await world.letter(listener, fact)
    listener.is_mended = True
    with monkeypatch.context() as patched:
        patched.setattr(resolution, step, die)
        with pytest.raises(Outage):
            await resolution.replay(world.bus, letter, ADA)
    assert [each.id for each in await world.letters(listener)] == [letter.id]

    await resolution.replay(world.bus, letter, Operator("bob@desk"))

    await world.handles(listener, fact.order_id)
    assert await world.letters(listener) == []
    (record,) = await world.letters(listener, resolved=True)
    assert record.headers["Resolved-By"] == ("ada@desk" if step == "_delete" else "bob@desk")
    assert await listener.handled() == {fact.order_id: 1}


async def test_operators_who_replay_at_once_have_one_effect(world: World) -> None:
    listener, fact = await world.service(), created()
    letter = await world.letter(listener, fact)
    listener.is_mended = True

    await asyncio.gather(*(resolution.replay(world.bus, letter, ADA) for _ in range(10)))

    await world.handles(listener, fact.order_id)
    assert await listener.handled() == {fact.order_id: 1}
    assert len(await world.letters(listener, resolved=True)) == 1
    assert await world.letters(listener) == []


async def test_who_comes_later_is_told_what_was_done(world: World) -> None:
    listener, fact = await world.service(), created()
    letter = await world.letter(listener, fact)
    listener.is_mended = True
    await resolution.discard(world.bus, letter, ADA)

    before = await resolution.replay(world.bus, letter, Operator("bob@desk"))

    assert before is not None
    assert (before.headers["Resolved-As"], before.headers["Resolved-By"]) == ("discarded", "ada@desk")
    last = created()
    await world.announce(last)
    await world.handles(listener, last.order_id)
    assert await listener.handled() == {last.order_id: 1}


async def test_letters_are_chosen_by_what_they_have_in_common(world: World) -> None:
    listener, fact = await world.service(), created()
    cancelled = OrderCancelled(order_id=fact.order_id)
    for each in (fact, created(), cancelled):
        await world.announce(each)
    _, second = await world.buried(listener, 2)

    async def chosen(which: Which) -> set[tuple[str, str]]:
        found = [letter async for letter in dead_letters.letters(world.bus, which)]
        return {(letter.kind.rpartition(".")[2], letter.key) for letter in found}

    async def all_are() -> bool:
        return len(await chosen(Which(reason=listener.service))) == 3

    await eventually(all_are)
    of_order = {("OrderCreated", fact.order_id), ("OrderCancelled", fact.order_id)}
    of_kind = {("OrderCreated", fact.order_id), ("OrderCreated", second.key)}
    at = second.recorded.stored_at
    assert await chosen(Which(key=fact.order_id)) == of_order
    assert await chosen(Which(kind=CREATED.name, reason=listener.service)) == of_kind
    assert await chosen(Which(durable=f"{listener.service}_OrderCreated")) == of_kind
    assert await chosen(Which(durable=f"{listener.service}_OrderCreated", key=second.key)) == of_kind - of_order
    assert (second.kind.rpartition(".")[2], second.key) in await chosen(Which(since=at, reason=listener.service))
    assert await chosen(Which(until=at, reason=listener.service)) <= of_kind | of_order - {("OrderCreated", second.key)}
    assert await chosen(Which(since=at + timedelta(minutes=1), reason=listener.service)) == set()
    assert await chosen(Which(reason="of another kind", key=fact.order_id)) == set()


def huge(world: World) -> OrderCreated:
    """A fact that a stream takes, but not with a letter's headers on top."""
    fact = created()
    headers = announce(fact, "test", "cause").headers
    room = world.bus.client.max_payload - sum(len(f"{name}: {value}\r\n") for name, value in headers.items())
    return OrderCreated(order_id=fact.order_id, purchase=Purchase(customer_id="x" * (room - 400)))


async def test_of_a_message_too_large_to_keep_the_original_is_replayed(world: World) -> None:
    listener, fact = await world.service(), huge(world)
    letter = await world.letter(listener, fact)
    assert letter.is_pointer
    listener.is_mended = True

    await resolution.replay(world.bus, letter, ADA)

    await world.handles(listener, fact.order_id)


async def test_of_a_message_too_large_to_keep_nothing_is_replayed_when_it_is_gone(world: World) -> None:
    listener = await world.service()
    letter = await world.letter(listener, huge(world))
    stream, sequence = letter.origin
    await world.bus.client.jetstream().delete_msg(stream, sequence)

    with pytest.raises(Refusal) as refusal:
        await resolution.replay(world.bus, letter, ADA)

    assert refusal.value.reason == "ORIGINAL_GONE"
    assert [each.id for each in await world.letters(listener)] == [letter.id]
    await resolution.discard(world.bus, letter, ADA)
    assert await world.letters(listener) == []


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        ("odd-name", b"a(b: 1\r\n"),
        ("no-ascii", "Name: José\r\n".encode()),
        ("no-utf-8", b"Name: \xff\xfe\r\n"),
        ("forged-letter", b"Resolved-Letter: x\r\nDead-Pointer: y\r\nDead-Sequence: z\r\n"),
        ("k" * 3900, b""),
    ],
    ids=["odd name", "no ASCII", "no UTF-8", "forged letter", "long subject"],
)
async def test_whatever_it_looks_like_it_is_buried_and_can_be_resolved(world: World, key: str, headers: bytes) -> None:
    listener = await world.service()
    headers = b"NATS/1.0\r\nKept: yes\r\n" + headers + b"\r\n"
    client = world.bus.client
    command = f"HPUB {CREATED.subject(key)} {len(headers)} {len(headers)}\r\n".encode()
    await client._send_command(command + headers + b"\r\n")  # its own checks are stricter
    await client.flush()

    (letter,) = await world.buried(listener, 1)
    assert key.startswith(letter.key)
    assert (letter.is_pointer, letter.headers["Kept"]) == (False, "yes")
    await resolution.replay(world.bus, letter, ADA)
    (again,) = await world.buried(listener, 1)
    await resolution.discard(world.bus, again, ADA)
    assert await world.letters(listener) == []
    assert world.bus.client is client
