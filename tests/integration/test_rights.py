"""What the users of NATS may do, and what they may not, as the server sees it."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from nats.js.errors import NotFoundError
from shop.inventory.v1.inventory_facts_pb2 import InventoryReserved
from shop.payment.v1.payment_facts_pb2 import PaymentProcessed
from structlog.testing import capture_logs
from structlog.typing import EventDict

from catalogue import model
from catalogue.model import Service
from mesh import contract
from mesh.cloudevents import announce
from mesh.errors import Outage
from mesh.events import durable
from mesh.events.bus import Bus, creating
from mesh.events.consumer import consuming
from mesh.events.dead_letters import STREAM as DEAD_LETTERS
from mesh.events.durable import Durable
from mesh.events.outbox import relayed
from mesh.events.reaction import Reaction
from mesh.postgres.database import Database, Once, Transaction
from tests.eventually import eventually
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

CATALOGUE = model.read()
REACTING = [service for service in CATALOGUE.services if service.reactions]
STREAM = contract.fact(InventoryReserved).stream
PAYMENT = durable.of_fact("payment", contract.fact(InventoryReserved))
React = Callable[[InventoryReserved, Once], Awaitable[None]]
BAD_REQUEST = 400
AT_ONCE = 2.0
"""Seconds: less than any timeout of a request."""

FOREIGN = [
    "shop.inventory.v1.InventoryReserved.1",
    "shop.customer.v1.OrderPlaced.1",
    "again.inventory.shop.orders.v1.OrderCreated.1",
    "dead.inventory_OrderCreated.shop.orders.v1.OrderCreated.1",
    "resolved.payment_InventoryReserved.shop.inventory.v1.InventoryReserved.1",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.SHOP_EVENTS.payment_InventoryReserved",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.STREAM.UPDATE.SHOP_EVENTS",
    "$JS.API.STREAM.DELETE.SHOP_EVENTS",
    "$JS.API.STREAM.PURGE.SHOP_EVENTS",
    "$JS.API.STREAM.MSG.GET.SHOP_EVENTS",
    "$JS.API.STREAM.MSG.DELETE.DEAD_LETTERS",
    "$JS.API.DIRECT.GET.SHOP_EVENTS",
    "$JS.API.DIRECT.GET.SHOP_EVENTS.shop.orders.v1.OrderCreated.1",
    "$JS.API.CONSUMER.CREATE.SHOP_EVENTS",
    "$JS.API.CONSUMER.CREATE.SHOP_EVENTS.payment_InventoryReserved",
    "$JS.API.CONSUMER.CREATE.SHOP_EVENTS.payment_InventoryReserved.shop.orders.v1.OrderCreated.*",
    "$JS.API.CONSUMER.CREATE.SHOP_EVENTS.inventory_OrderCreated.shop.orders.v1.OrderCreated.*",
    "$JS.API.CONSUMER.DURABLE.CREATE.SHOP_EVENTS.payment_InventoryReserved",
    "$JS.API.CONSUMER.DELETE.SHOP_EVENTS.payment_InventoryReserved",
    "$JS.API.CONSUMER.DELETE.SHOP_EVENTS.inventory_OrderCreated",
    "$JS.API.CONSUMER.INFO.SHOP_EVENTS.inventory_OrderCreated",
    "$JS.API.CONSUMER.MSG.NEXT.SHOP_EVENTS.inventory_OrderCreated",
    "$JS.ACK.SHOP_EVENTS.inventory_OrderCreated.1.1.1.1.0",
    "$JS.ACK._.account.SHOP_EVENTS.inventory_OrderCreated.1.1.1.1.0",
    "_INBOX_inventory.1.1",
]


@pytest.fixture
async def operator(foundations: Foundations) -> AsyncGenerator[Bus]:
    async with connected(foundations, "operator") as bus:
        yield bus
        await forget_consumers(bus)


@pytest.fixture
async def payment(foundations: Foundations, operator: Bus) -> AsyncGenerator[Bus]:
    async with connected(foundations, "payment") as bus:
        yield bus


@asynccontextmanager
async def connected(foundations: Foundations, user: str) -> AsyncGenerator[Bus]:
    async with Bus.open(foundations.nats_url_of(user), user) as bus:
        await bus.connected.wait()
        yield bus


async def forget_consumers(operator: Bus) -> None:
    for service in REACTING:
        for each in durables(service):
            with suppress(NotFoundError):
                await operator.client.jetstream().delete_consumer(each.stream, each.name)


def durables(service: Service) -> list[Durable]:
    facts = [CATALOGUE.fact(reaction.fact) for reaction in service.reactions]
    return durable.of_service(service.name, [contract.Fact(fact.name, fact.stream, fact.key) for fact in facts])


def forbidden(logs: list[EventDict]) -> list[str]:
    return [line["subject"] for line in logs if line["event"] == "forbidden"]


def is_stored(operator: Bus, stream: str, subject: str) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        info = await operator.client.jetstream().stream_info(stream, subjects_filter=subject)
        return bool(info.state.subjects)

    return condition


async def pulled(bus: Bus, stream: str, consumer: str) -> None:
    """Ask a consumer for a message, and acknowledge it, if there is one."""
    subject, request = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", b'{"batch": 1, "no_wait": true}'
    inbox = await bus.client.subscribe(bus.client.new_inbox())
    await bus.client.publish(subject, request, reply=inbox.subject)
    message = await inbox.next_msg(timeout=AT_ONCE)
    await inbox.unsubscribe()
    if message.reply:
        await message.ack_sync(timeout=AT_ONCE)


@asynccontextmanager
async def reacting(foundations: Foundations, bus: Bus, react: React) -> AsyncGenerator[None]:
    """The payment service, as far as the kit makes it one."""
    reaction = Reaction(InventoryReserved, react, leads_to=(PaymentProcessed,))
    async with (
        Database.open(await foundations.database(), "payment") as database,
        relayed(database, bus),
        consuming("payment", [reaction], database, bus),
    ):
        yield


async def test_a_service_is_told_announces_retries_and_buries_as_its_own_user(
    foundations: Foundations, operator: Bus, payment: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.events.consumer.TRIES_MAX", 2)
    handled, lost, unreadable = (str(uuid.uuid4()) for _ in range(3))
    outages = [Outage("no gateway") for _ in range(3)]

    async def react(fact: InventoryReserved, once: Once) -> None:
        if fact.order_id == lost and outages:
            raise outages.pop()

        async def work(tx: Transaction) -> None:
            tx.announce(PaymentProcessed(order_id=fact.order_id))

        await once(work)

    with capture_logs() as logs:
        async with reacting(foundations, payment, react):
            for order_id in (handled, lost):
                event = announce(InventoryReserved(order_id=order_id), "inventory", "cause")
                await operator.publish(event.stream, event.subject, event.payload, event.headers)
            await operator.publish(STREAM, f"shop.inventory.v1.InventoryReserved.{unreadable}", b"", {})
            for order_id in (handled, lost):
                await eventually(is_stored(operator, STREAM, f"shop.payment.v1.PaymentProcessed.{order_id}"))
            await eventually(is_stored(operator, DEAD_LETTERS.name, f"dead.{PAYMENT.name}.*.*.*.*.{unreadable}"))
            await eventually(is_stored(operator, "AGAIN", f"again.payment.*.*.*.*.{lost}"))
    assert forbidden(logs) == []


@pytest.mark.parametrize("service", REACTING, ids=lambda service: service.name)
async def test_a_service_has_the_consumers_that_its_reactions_need(
    foundations: Foundations, operator: Bus, service: Service
) -> None:
    with capture_logs() as logs:
        async with connected(foundations, service.name) as bus:
            for each in durables(service):
                await bus.consume(each.stream, each.config())
                await bus.consume(each.stream, each.config())
                info = await bus.client.jetstream().consumer_info(each.stream, each.name)
                assert info.config.durable_name == each.name
                await pulled(bus, each.stream, each.name)
            await bus.client.jetstream().stream_info(DEAD_LETTERS.name)
    assert forbidden(logs) == []


async def test_a_forged_fact_is_refused_at_once_named_in_the_log_and_not_stored(operator: Bus, payment: Bus) -> None:
    subject = f"shop.inventory.v1.InventoryReserved.{uuid.uuid4()}"

    with capture_logs() as logs:
        async with asyncio.timeout(AT_ONCE):
            with pytest.raises(Outage, match=f"no right to publish to {subject}"):
                await payment.publish(STREAM, subject, b"", {"ce-id": "forged"})

    assert forbidden(logs) == [subject.lower()]
    assert logs[0]["log_level"] == "error"
    assert not await is_stored(operator, STREAM, subject)()
    own = announce(PaymentProcessed(order_id=str(uuid.uuid4())), "payment", "cause")
    await payment.publish(own.stream, own.subject, own.payload, own.headers)


@pytest.mark.parametrize("subject", FOREIGN)
async def test_a_service_may_not_publish_to_what_is_not_its_own(payment: Bus, subject: str) -> None:
    with capture_logs() as logs:
        await payment.client.publish(subject, b"{}")
        await eventually(lambda: forbidden(logs) == [subject.lower()])


@pytest.mark.parametrize("subject", [">", "shop.>", "again.payment.>", "_INBOX.>", "_INBOX_inventory.>", "$JS.>"])
async def test_a_service_may_not_listen_to_anything_but_its_own_inboxes(payment: Bus, subject: str) -> None:
    with capture_logs() as logs:
        subscription = await payment.client.subscribe(subject)
        await eventually(lambda: forbidden(logs) == [subject.lower()])
        await subscription.unsubscribe()


@pytest.mark.parametrize(
    "subject", ["anything", "shop.customer.v1.OrderPlaced.1", "$JS.API.INFO", "$JS.API.STREAM.NAMES"]
)
async def test_who_announces_nothing_and_reacts_to_nothing_may_do_nothing(
    foundations: Foundations, subject: str
) -> None:
    with capture_logs() as logs:
        async with connected(foundations, "customer") as bus:
            await bus.client.publish(subject)
            await eventually(lambda: forbidden(logs) == [subject.lower()])


@pytest.mark.parametrize(
    "changed",
    [
        {"filter_subject": "shop.>"},
        {"filter_subject": None, "filter_subjects": ["shop.>"]},
        {"durable_name": "orders_PaymentProcessed", "name": "orders_PaymentProcessed"},
        {"deliver_subject": "shop.inventory.v1.InventoryReserved.1"},
    ],
    ids=["another filter", "more filters", "another name", "sent to where facts are announced"],
)
async def test_a_service_cannot_ask_for_more_than_the_subject_of_its_request_says(
    operator: Bus, payment: Bus, changed: dict[str, object]
) -> None:
    config = {**PAYMENT.config().as_dict(), "name": PAYMENT.name, **changed}
    request = json.dumps({"stream_name": STREAM, "config": {k: v for k, v in config.items() if v is not None}})

    answer = await payment.client.request(creating(STREAM, PAYMENT.config()), request.encode(), timeout=AT_ONCE)

    assert json.loads(answer.data)["error"]["code"] == BAD_REQUEST


async def test_a_consumer_that_is_not_ones_own_is_refused_at_once(payment: Bus) -> None:
    foreign = durable.of_fact("inventory", contract.fact(InventoryReserved))

    async with asyncio.timeout(AT_ONCE):
        with pytest.raises(Outage, match=r"no right .*inventory_InventoryReserved"):
            await payment.consume(foreign.stream, foreign.config())


async def test_the_broker_is_not_made_to_acknowledge_for_others(payment: Bus) -> None:
    told = "$JS.API.STREAM.INFO.DEAD_LETTERS"

    with capture_logs() as logs:
        await payment.client.publish(told, reply="$JS.ACK.SHOP_EVENTS.inventory_OrderCreated.1.1.1.1.0")
        await eventually(lambda: any("permissions violation" in str(line) for line in logs))


async def test_what_the_broker_is_made_to_say_is_no_fact(foundations: Foundations, operator: Bus, payment: Bus) -> None:
    order_id = str(uuid.uuid4())
    forged = announce(InventoryReserved(order_id=order_id), "orders", "cause")
    del forged.headers["Nats-Msg-Id"]  # by which the stream would know it for a duplicate
    async with connected(foundations, "orders") as orders:
        kept = await orders.publish(STREAM, f"shop.orders.v1.OrderCreated.{order_id}", forged.payload, forged.headers)
        question = json.dumps({"seq": kept.seq}).encode()
        await orders.client.publish(f"$JS.API.DIRECT.GET.{STREAM}", question, reply=forged.subject)
        await eventually(is_stored(operator, STREAM, forged.subject))

    async def never(fact: InventoryReserved, once: Once) -> None:
        assert fact.order_id != order_id

    with capture_logs() as logs:
        async with reacting(foundations, payment, never):
            await eventually(is_stored(operator, DEAD_LETTERS.name, f"dead.{PAYMENT.name}.{forged.subject}"))
    (line,) = (line for line in logs if forged.subject in line.values())
    assert "an answer of the broker's" in line["error"]


@pytest.mark.parametrize("who", [{}, {"user": "payment", "pass": "wrong"}], ids=["nobody", "wrong password"])
async def test_who_has_no_password_is_not_let_in(foundations: Foundations, who: dict[str, str]) -> None:
    host, _, port = foundations.nats_url.rpartition("@")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await reader.readline()  # how the server introduces itself

    writer.write(f"CONNECT {json.dumps(who)}\r\nPING\r\n".encode())

    assert await reader.readline() == b"-ERR 'Authorization Violation'\r\n"
    writer.close()
    await writer.wait_closed()
