"""What was sent can be sent again, from the outbox: in order, and handled once."""

import asyncio
import json
import sys
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ensemble.mesh.v1 import outbox_service_pb2 as pb
from nats.js import JetStreamContext
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCreated

from catalogue import model
from cli.books import settled
from cli.stack import streams
from mesh import contract
from mesh.errors import Outage, Refusal
from mesh.events import history
from mesh.events.bus import Bus
from mesh.events.history import Recorded
from mesh.events.outbox import relayed
from mesh.events.republish import OutboxServicer
from mesh.postgres.database import Database
from tests import shop as shop_
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.outside import CALL
from tests.shop import Shop, state_of

pytestmark = pytest.mark.integration

CREATED = contract.fact(OrderCreated)
LIMIT = 1000
NOWHERE = "nats://127.0.0.1:1"
A_DAY_AGO = "UPDATE outbox SET announced_at = now() - interval '1 day' WHERE key = $1"


class Service:
    """A service's outbox, its relay and its door to the outbox."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self.database = database
        self._bus = bus
        self._door = OutboxServicer(database, LIMIT)

    async def announce(self, *facts: OrderCreated | OrderCancelled) -> None:
        async with self.database.announcing(uuid.uuid4().hex) as tx:
            for fact in facts:
                tx.announce(fact)

    async def outbox(self) -> pb.GetOutboxResponse:
        return await self._door.GetOutbox(pb.GetOutboxRequest(), CALL)

    async def republish(self, **request: Any) -> pb.RepublishResponse:
        wanted = pb.RepublishRequest(request_id=uuid.uuid4().hex, page_size=1000)
        wanted.MergeFrom(pb.RepublishRequest(**request))
        return await self._door.Republish(wanted, CALL)

    async def sent(self, *keys: str) -> list[tuple[str, str]]:
        """Event and key of what the stream has of these keys, once all that waits is sent."""

        async def is_empty() -> bool:
            return (await self.outbox()).unsent == 0

        await eventually(is_empty)
        stored = [each async for each in history.read(self._bus, CREATED.stream, "shop.orders.v1.*.*")]
        return [(each.kind.rpartition(".")[2], each.key) for each in stored if each.key in keys]

    async def stored(self, key: str) -> list[Recorded]:
        await self.sent(key)
        return [each async for each in history.read(self._bus, CREATED.stream, CREATED.subject(key))]


@pytest.fixture
async def service(foundations: Foundations) -> AsyncGenerator[Service]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(await foundations.database(), "test"))
        bus = await stack.enter_async_context(Bus.open(foundations.nats_url, "test"))
        await bus.connected.wait()
        await stack.enter_async_context(relayed(database, bus))
        yield Service(database, bus)


def key() -> str:
    return str(uuid.uuid4())


async def test_the_outbox_tells_what_waits_and_since_when(foundations: Foundations) -> None:
    async with Database.open(await foundations.database(), "test") as database, Bus.open(NOWHERE, "test") as bus:
        service = Service(database, bus)
        assert await service.outbox() == pb.GetOutboxResponse(limit=LIMIT)
        before = datetime.now(UTC)

        await service.announce(OrderCreated(order_id=key()), OrderCreated(order_id=key()))

        outbox = await service.outbox()
        assert (outbox.unsent, outbox.HasField("oldest_kept_at")) == (2, False)
        assert abs(outbox.oldest_unsent_at.ToDatetime(UTC) - before) < timedelta(seconds=5)
        await database.pool.execute("UPDATE outbox SET sent_at = now()")
        outbox = await service.outbox()
        assert (outbox.unsent, outbox.HasField("oldest_unsent_at"), outbox.HasField("oldest_kept_at")) == (
            0,
            False,
            True,
        )


async def test_facts_are_stored_again_as_they_were_and_in_their_order(service: Service) -> None:
    one, other = key(), key()
    await service.announce(OrderCreated(order_id=one), OrderCreated(order_id=other), OrderCancelled(order_id=one))
    assert len(await service.sent(one, other)) == 3

    answer = await service.republish()

    assert (answer.count, answer.next_page_token) == (3, "")
    assert [event for event, of in await service.sent(one, other) if of == one] == [
        *("OrderCreated", "OrderCancelled"),
        *("OrderCreated", "OrderCancelled"),
    ]
    first, again = await service.stored(one)
    assert (first.event_id, first.headers, first.payload) == (again.event_id, again.headers, again.payload)


async def test_only_what_is_asked_for_is_sent_again(service: Service) -> None:
    one, old = key(), key()
    await service.announce(OrderCreated(order_id=one), OrderCancelled(order_id=one), OrderCreated(order_id=old))
    await service.sent(one, old)
    await service.database.pool.execute(A_DAY_AGO, old)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)

    async def count(**request: Any) -> int:
        return (await service.republish(validate_only=True, **request)).count

    assert await count() == 3
    assert await count(key=one) == 2
    assert await count(fact=CREATED.name) == 2
    assert await count(fact=CREATED.name, key=one) == 1
    assert await count(since=hour_ago) == 2
    assert await count(until=hour_ago) == 1
    assert await count(key="nobody's") == 0
    assert len(await service.sent(one, old)) == 3, "nothing was sent to count"
    assert await service.database.pool.fetchval("SELECT count(*) FROM handled") == 0

    await service.republish(fact=CREATED.name, key=one)
    assert len(await service.stored(one)) == 2
    assert len(await service.stored(old)) == 1


async def test_a_repeated_request_sends_nothing_twice_and_another_one_does(service: Service) -> None:
    one = key()
    await service.announce(OrderCreated(order_id=one))
    await service.sent(one)

    answers = await asyncio.gather(*(service.republish(request_id="r-1") for _ in range(5)))
    assert {answer.count for answer in answers} == {1}
    assert len(await service.stored(one)) == 2

    await service.republish(request_id="r-2")
    assert len(await service.stored(one)) == 3


async def test_facts_go_page_by_page(service: Service) -> None:
    keys = [key() for _ in range(25)]
    await service.announce(*(OrderCreated(order_id=each) for each in keys))
    await service.sent(*keys)

    counts, token = [], ""
    while not counts or token:
        page = await service.republish(page_size=10, page_token=token)
        counts.append(page.count)
        token = page.next_page_token

    assert counts == [10, 10, 5]
    again = [each for _, each in await service.sent(*keys)][25:]
    assert sorted(again) == sorted(keys)


async def test_room_is_left_for_what_the_service_has_to_say(foundations: Foundations) -> None:
    async with Database.open(await foundations.database(), "test") as database, Bus.open(NOWHERE, "test") as bus:
        service = Service(database, bus)
        await service.announce(*(OrderCreated(order_id=key()) for _ in range(LIMIT)))
        await database.pool.execute("UPDATE outbox SET sent_at = now()")

        page = await service.republish()

        assert page.count == (await service.outbox()).unsent == LIMIT // 2
        with pytest.raises(Outage, match="half of what the outbox may hold"):
            await service.republish(page_token=page.next_page_token)


@pytest.mark.parametrize(
    "request_", [{"page_token": "bm9uZQ=="}, {"since": {"seconds": 1 << 60}}], ids=["token", "time"]
)
async def test_a_request_that_makes_no_sense_is_refused(service: Service, request_: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        await service.republish(**request_)


@pytest.fixture
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Shop]:
    """A shop of its own: its stream will be lost."""
    async with shop_.opened(shop_.planned(tmp_path_factory.mktemp("republish"))) as shop:
        yield shop


ORDERS = 20
PAYING = "payment_InventoryReserved"
STREAM = CREATED.stream


@pytest.mark.system
async def test_when_the_stream_is_lost_every_order_is_finished_once(shop: Shop) -> None:
    async with Bus.open(shop.state.nats_url, "operator") as bus:
        await bus.connected.wait()
        jetstream = bus.client.jetstream()
        sku, before = await shop.stocked(2 * ORDERS), await shop.books()
        await jetstream.pause_consumer(STREAM, PAYING, (datetime.now(UTC) + timedelta(hours=1)).isoformat())
        orders = [await shop.place(MODE_CHOREOGRAPHED, sku=sku) for _ in range(ORDERS)]
        await eventually(lambda: waits(jetstream, ORDERS))

        await jetstream.delete_stream(STREAM)
        await streams.provision(shop.state.nats_url, 1)
        await eventually(lambda: waits(jetstream, 0))
    assert {state_of(await shop.seen(order, lambda _: True))[0] for order in orders} == {"PENDING"}

    counts = await republish(shop)
    assert counts["orders"] == counts["inventory"] == ORDERS
    assert {state_of(await shop.outcome(order)) for order in orders} == {("COMPLETED", "UNSPECIFIED")}
    await eventually(lambda: nothing_waits(shop))
    assert sum((await republish(shop)).values()) == 6 * ORDERS
    await eventually(lambda: nothing_waits(shop))

    assert {state_of(await shop.outcome(order)) for order in orders} == {("COMPLETED", "UNSPECIFIED")}
    assert [line for line in await settled(before, shop.books) if not line.balances] == []
    assert await shop.available(sku) == ORDERS


async def waits(jetstream: JetStreamContext, count: int) -> bool:
    """Whether so many orders wait for their payment."""
    found = {info.name: info.num_pending for info in await jetstream.consumers_info(STREAM)}
    return found.get(PAYING) == count


async def nothing_waits(shop: Shop) -> bool:
    """Whether no fact was on its way at two looks in turn."""
    looks = [await ensemble(shop, "status") for _ in range(2)]
    names = ("waiting", "in_flight", "unsent")
    return not any(each.get(name) for look in looks for each in look for name in names)


async def republish(shop: Shop) -> dict[str, int]:
    """How many facts each service sends again."""
    services = [f"--service={service.name}" for service in model.read().services]
    return {each["service"]: each["facts"] for each in await ensemble(shop, "republish", *services)}


async def ensemble(shop: Shop, *arguments: str) -> list[dict[str, Any]]:
    """What `ensemble events` says."""
    command = (sys.executable, "-m", "cli.main", "events", *arguments, f"--data={shop.data}", "--json")
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return [json.loads(line) for line in out.decode().splitlines()]
