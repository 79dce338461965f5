"""Payment, shipping and notification: both doors, over a real database, against a real outside world."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from email import message_from_string
from pathlib import Path

import pytest
from shop.inventory.v1.inventory_facts_pb2 import InventoryReserved
from shop.notification.v1.notification_facts_pb2 import NotificationSent
from shop.notification.v1.notification_pb2 import NOTIFICATION_STATE_REFUSED, NOTIFICATION_STATE_SENT
from shop.orders.v1.orders_facts_pb2 import OrderCancelRequested
from shop.payment.v1.payment_facts_pb2 import PaymentFailed, PaymentProcessed, PaymentRefunded
from shop.payment.v1.payment_pb2 import (
    PAYMENT_STATE_CHARGED,
    PAYMENT_STATE_CHARGING,
    PAYMENT_STATE_DECLINED,
    PAYMENT_STATE_REFUNDED,
    PAYMENT_STATE_REFUNDING,
)
from shop.shipping.v1.shipment_pb2 import (
    SHIPMENT_STATE_BOOKING,
    SHIPMENT_STATE_CANCELLED,
    SHIPMENT_STATE_REFUSED,
    SHIPMENT_STATE_SHIPPED,
)
from shop.shipping.v1.shipping_facts_pb2 import (
    OrderShipped,
    ShipmentCancelled,
    ShipmentCancelRefused,
    ShippingFailed,
)
from shop.type.v1.money_pb2 import Money

from mesh.database import Database
from mesh.errors import Outage, Refusal
from services.notification.outside import SmtpMailer
from services.payment.outside import HttpGateway
from services.shipping.outside import HttpCarrier
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.outside import ORDER, TOTAL, NotificationService, Outside, PaymentService, Service, ShippingService, schema
from tests.purchases import purchase

pytestmark = pytest.mark.integration

RESERVED = InventoryReserved(order_id=ORDER, reservation_id="r-1", total=TOTAL, purchase=purchase())
PAID = PaymentProcessed(order_id=ORDER, payment_id="p-1", total=TOTAL, purchase=purchase())
ON_ITS_WAY = OrderShipped(order_id=ORDER, shipment_id="s-1", tracking="trk_1", total=TOTAL, purchase=purchase())
CANCEL = OrderCancelRequested(order_id=ORDER)


@pytest.fixture
async def stack() -> AsyncGenerator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def outside(tmp_path: Path, stack: AsyncExitStack) -> Outside:
    outside = Outside(tmp_path / "ledger.db")
    await outside.begin()
    stack.push_async_callback(outside.end)
    return outside


async def database_of(service: type[Service], foundations: Foundations, stack: AsyncExitStack) -> Database:
    opening = Database.open(await foundations.database(), service.name, schema(service))
    return await stack.enter_async_context(opening)


@pytest.fixture
async def payment(foundations: Foundations, outside: Outside, stack: AsyncExitStack) -> PaymentService:
    database = await database_of(PaymentService, foundations, stack)
    return PaymentService(database, await stack.enter_async_context(HttpGateway.open(outside.http_url)))


@pytest.fixture
async def shipping(foundations: Foundations, outside: Outside, stack: AsyncExitStack) -> ShippingService:
    database = await database_of(ShippingService, foundations, stack)
    return ShippingService(database, await stack.enter_async_context(HttpCarrier.open(outside.http_url)))


@pytest.fixture
async def notification(foundations: Foundations, outside: Outside, stack: AsyncExitStack) -> NotificationService:
    database = await database_of(NotificationService, foundations, stack)
    return NotificationService(database, await stack.enter_async_context(SmtpMailer.open(outside.smtp_url)))


async def give_up(call: "asyncio.Task[object]") -> None:
    """What gRPC does when its client has gone away."""
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call


# --- payment


async def test_repeated_charge_gets_the_first_answer_and_charges_once(
    payment: PaymentService, outside: Outside
) -> None:
    first = await payment.charge()
    again = await payment.charge()
    other_request = await payment.charge(request_id="do it")

    assert first == again == other_request
    assert (first.state, first.amount) == (PAYMENT_STATE_CHARGED, TOTAL)
    assert outside.rows("payments", "state") == ["charged"]
    assert await payment.facts() == []


async def test_charges_of_one_payment_at_the_same_time_charge_once(payment: PaymentService, outside: Outside) -> None:
    made = await asyncio.gather(*(payment.charge(request_id=f"do-{number}") for number in range(20)))

    assert {each.state for each in made} == {PAYMENT_STATE_CHARGED}
    assert outside.rows("payments", "state") == ["charged"]


async def test_charge_whose_answer_was_lost_is_found_by_the_repeat(payment: PaymentService, outside: Outside) -> None:
    with pytest.raises(Outage):
        await payment.charge("tok_flaky")
    assert (await payment.now()).state == PAYMENT_STATE_CHARGING

    assert (await payment.charge("tok_flaky")).state == PAYMENT_STATE_CHARGED
    assert outside.rows("payments", "state") == ["charged"]


async def test_slow_charge_is_waited_for(payment: PaymentService) -> None:
    assert (await payment.charge("tok_slow")).state == PAYMENT_STATE_CHARGED


async def test_charge_whose_client_gave_up_is_given_back(payment: PaymentService, outside: Outside) -> None:
    charging = asyncio.ensure_future(payment.charge("tok_slow"))
    await eventually(lambda: outside.rows("payments", "state") == ["charged"])
    await give_up(charging)

    refunded = await payment.refund()

    assert (refunded.state, refunded.amount) == (PAYMENT_STATE_REFUNDED, TOTAL)
    assert outside.rows("payments", "state") == ["refunded"]
    with pytest.raises(Refusal, match="refunded") as refusal:
        await payment.charge("tok_slow")
    assert refusal.value.reason == "PAYMENT_REFUNDED"


async def test_refund_that_overtakes_a_charge_under_way_wins(payment: PaymentService, outside: Outside) -> None:
    charging = asyncio.ensure_future(payment.charge("tok_slow"))
    await eventually(lambda: outside.rows("payments", "state") == ["charged"])

    await payment.refund()

    with pytest.raises(Refusal) as refusal:
        await charging
    assert refusal.value.reason == "PAYMENT_REFUNDED"
    assert (await payment.now()).state == PAYMENT_STATE_REFUNDED
    assert outside.rows("payments", "state") == ["refunded"]


async def test_refund_before_the_charge_keeps_the_gateway_out_of_it(payment: PaymentService, outside: Outside) -> None:
    tombstone = await payment.refund()

    for _ in range(2):
        with pytest.raises(Refusal) as refusal:
            await payment.charge()
        assert refusal.value.reason == "PAYMENT_REFUNDED"
    assert tombstone.state == PAYMENT_STATE_REFUNDED
    assert not tombstone.HasField("amount")
    assert outside.rows("payments", "state") == []


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("tok_declined", "CARD_DECLINED"),
        ("tok_insufficient_funds", "INSUFFICIENT_FUNDS"),
        ("tok_nonsense", "INVALID_TOKEN"),
    ],
)
async def test_declined_card_is_refused_and_stays_declined(payment: PaymentService, token: str, reason: str) -> None:
    for request_id in ("do", "do", "do it"):
        with pytest.raises(Refusal) as refusal:
            await payment.charge(token, request_id)
        assert refusal.value.reason == reason

    assert (await payment.refund()).state == PAYMENT_STATE_DECLINED
    assert not (await payment.now()).HasField("amount")


async def test_amount_the_gateway_cannot_charge_is_declined(payment: PaymentService) -> None:
    with pytest.raises(Refusal) as refusal:
        await payment.charge(amount=Money(amount_minor=100_000_000))

    assert refusal.value.reason == "NOT_CHARGEABLE"


async def test_request_id_of_another_request_is_refused_before_anything_happens_outside(
    payment: PaymentService, outside: Outside
) -> None:
    await payment.charge()

    with pytest.raises(Refusal) as refusal:
        await payment.charge(payment_id="p-2")

    assert refusal.value.reason == "REQUEST_ID_REUSED"
    assert outside.rows("payments", "key") == ["p-1"]
    assert await payment.database.pool.fetchval("SELECT count(*) FROM payment") == 1


async def test_payment_id_of_another_payment_is_refused(payment: PaymentService, outside: Outside) -> None:
    await payment.charge()

    with pytest.raises(Refusal) as refusal:
        await payment.charge(request_id="do it", amount=Money(amount_minor=1))

    assert refusal.value.reason == "PAYMENT_ID_REUSED"
    assert outside.rows("payments", "amount_minor") == [1999]


async def test_any_id_of_the_contract_is_a_key_of_the_gateway(payment: PaymentService, outside: Outside) -> None:
    payment_id = "a/b:c..d-e_f/" + "g" * 187

    assert (await payment.charge(payment_id=payment_id)).payment_id == payment_id
    assert outside.rows("payments", "key") == [payment_id]


async def test_gateway_that_is_down_is_an_outage_until_it_is_back(payment: PaymentService, outside: Outside) -> None:
    await outside.end()
    with pytest.raises(Outage):
        await payment.charge()
    assert (await payment.now()).state == PAYMENT_STATE_CHARGING

    await outside.begin()
    assert (await payment.charge()).state == PAYMENT_STATE_CHARGED
    assert outside.rows("payments", "state") == ["charged"]


async def test_unknown_payment_is_not_found(payment: PaymentService) -> None:
    with pytest.raises(Refusal) as refusal:
        await payment.now()
    assert refusal.value.reason == "PAYMENT_NOT_FOUND"


async def test_reserved_order_is_charged_once_however_often_it_is_told(
    payment: PaymentService, outside: Outside
) -> None:
    react = payment.events.on_inventory_reserved
    await asyncio.gather(*(payment.hear(react, RESERVED) for _ in range(5)))
    await payment.hear(react, RESERVED)

    payment_id = f"{ORDER}.process_payment"
    announced = PaymentProcessed(order_id=ORDER, payment_id=payment_id, total=TOTAL, purchase=purchase())
    assert await payment.facts() == [announced]
    assert outside.rows("payments", "key") == [payment_id]


async def test_declined_order_is_announced_as_failed(payment: PaymentService) -> None:
    fact = InventoryReserved(order_id=ORDER, total=TOTAL, purchase=purchase(token="tok_declined"))
    await payment.hear(payment.events.on_inventory_reserved, fact)

    (failed,) = await payment.facts()
    assert isinstance(failed, PaymentFailed)
    assert failed.refusal.reason == "CARD_DECLINED"


@pytest.mark.parametrize("undone", [ShippingFailed(order_id=ORDER), ShipmentCancelled(order_id=ORDER)])
async def test_order_that_is_not_shipped_is_refunded_once(
    payment: PaymentService, outside: Outside, undone: ShippingFailed | ShipmentCancelled
) -> None:
    await payment.hear(payment.events.on_inventory_reserved, RESERVED)
    for _ in range(2):
        await payment.hear(payment.events.on_order_undone, undone)

    _, refunded = await payment.facts()
    assert isinstance(refunded, PaymentRefunded)
    assert refunded.amount == TOTAL
    assert outside.rows("payments", "state") == ["refunded"]


async def test_order_undone_before_it_was_charged_never_is(payment: PaymentService, outside: Outside) -> None:
    await payment.hear(payment.events.on_order_undone, ShipmentCancelled(order_id=ORDER))
    await payment.hear(payment.events.on_inventory_reserved, RESERVED)

    refunded, failed = await payment.facts()
    assert isinstance(refunded, PaymentRefunded)
    assert not refunded.HasField("amount")
    assert isinstance(failed, PaymentFailed)
    assert failed.refusal.reason == "PAYMENT_REFUNDED"
    assert outside.rows("payments", "state") == []


async def test_fact_that_meets_an_outage_is_handled_when_it_comes_again(
    payment: PaymentService, outside: Outside
) -> None:
    await outside.end()
    with pytest.raises(Outage):
        await payment.hear(payment.events.on_inventory_reserved, RESERVED)
    assert await payment.facts() == []

    await outside.begin()
    await payment.hear(payment.events.on_inventory_reserved, RESERVED)
    assert [type(fact) for fact in await payment.facts()] == [PaymentProcessed]


async def test_orphaned_charge_is_settled_by_one_sweeper_and_not_announced(
    payment: PaymentService, outside: Outside
) -> None:
    with pytest.raises(Outage):
        await payment.charge("tok_flaky")
    await payment.sweep()
    assert (await payment.now()).state == PAYMENT_STATE_CHARGING  # somebody may still be at it

    await payment.let_a_minute_pass()
    await asyncio.gather(payment.sweep(), payment.sweep())

    assert (await payment.now()).state == PAYMENT_STATE_CHARGED
    assert outside.rows("payments", "state") == ["charged"]
    assert await payment.facts() == []


async def test_orphaned_refund_is_settled(payment: PaymentService, outside: Outside) -> None:
    await payment.charge()
    await outside.end()
    with pytest.raises(Outage):
        await payment.refund()
    assert (await payment.now()).state == PAYMENT_STATE_REFUNDING
    await outside.begin()

    await payment.let_a_minute_pass()
    await payment.sweep()

    now = await payment.now()
    assert (now.state, now.amount) == (PAYMENT_STATE_REFUNDED, TOTAL)
    assert outside.rows("payments", "state") == ["refunded"]


# --- shipping


async def test_repeated_booking_gets_the_first_answer_and_books_once(
    shipping: ShippingService, outside: Outside
) -> None:
    first = await shipping.ship()

    assert await shipping.ship() == await shipping.ship(request_id="do it") == first
    assert first.state == SHIPMENT_STATE_SHIPPED
    assert outside.rows("shipments", "tracking") == [first.tracking]
    assert await shipping.facts() == []


async def test_booking_whose_answer_was_lost_is_found_by_the_repeat(
    shipping: ShippingService, outside: Outside
) -> None:
    with pytest.raises(Outage):
        await shipping.ship("44444")
    assert (await shipping.now()).state == SHIPMENT_STATE_BOOKING

    assert (await shipping.ship("44444")).state == SHIPMENT_STATE_SHIPPED
    assert outside.rows("shipments", "state") == ["booked"]


async def test_booking_whose_client_gave_up_is_held_by_the_gate(shipping: ShippingService, outside: Outside) -> None:
    booking = asyncio.ensure_future(shipping.ship("55555"))
    await eventually(lambda: outside.rows("shipments", "state") == ["booked"])
    await give_up(booking)

    with pytest.raises(Refusal) as refusal:
        await shipping.cancel()

    (tracking,) = outside.rows("shipments", "tracking")
    assert refusal.value.reason == "ALREADY_SHIPPED"
    assert refusal.value.metadata["tracking"] == tracking
    assert (await shipping.ship("55555")).tracking == tracking  # forward again


async def test_cancel_before_the_booking_keeps_the_carrier_out_of_it(
    shipping: ShippingService, outside: Outside
) -> None:
    assert (await shipping.cancel()).state == SHIPMENT_STATE_CANCELLED

    with pytest.raises(Refusal) as refusal:
        await shipping.ship()
    assert refusal.value.reason == "SHIPMENT_CANCELLED"
    assert outside.rows("shipments", "state") == []


async def test_cancel_of_a_booking_that_never_reached_the_carrier_bars_it(
    shipping: ShippingService, outside: Outside
) -> None:
    await outside.end()
    for call in (shipping.ship, shipping.cancel):
        with pytest.raises(Outage):
            await call()
    await outside.begin()

    assert (await shipping.cancel()).state == SHIPMENT_STATE_CANCELLED
    with pytest.raises(Refusal) as refusal:
        await shipping.ship()
    assert refusal.value.reason == "SHIPMENT_CANCELLED"
    assert outside.rows("shipments", "state") == ["cancelled"]


@pytest.mark.parametrize(("postcode", "reason"), [("00000", "NO_SERVICE_AREA"), ("99999", "OVERSIZE")])
async def test_parcel_the_carrier_does_not_take_is_refused(
    shipping: ShippingService, postcode: str, reason: str
) -> None:
    for request_id in ("do", "do", "do it"):
        with pytest.raises(Refusal) as refusal:
            await shipping.ship(postcode, request_id)
        assert refusal.value.reason == reason

    assert (await shipping.cancel()).state == SHIPMENT_STATE_REFUSED


async def test_shipment_id_of_another_shipment_is_refused(shipping: ShippingService) -> None:
    await shipping.ship()

    with pytest.raises(Refusal) as refusal:
        await shipping.ship(request_id="do it", quantity=2)
    assert refusal.value.reason == "SHIPMENT_ID_REUSED"


async def test_unknown_shipment_is_not_found(shipping: ShippingService) -> None:
    with pytest.raises(Refusal) as refusal:
        await shipping.now()
    assert refusal.value.reason == "SHIPMENT_NOT_FOUND"


async def test_paid_order_is_shipped_once_however_often_it_is_told(shipping: ShippingService, outside: Outside) -> None:
    react = shipping.events.on_payment_processed
    await asyncio.gather(*(shipping.hear(react, PAID) for _ in range(5)))
    await shipping.hear(react, PAID)

    (shipped,) = await shipping.facts()
    assert isinstance(shipped, OrderShipped)
    assert [shipped.tracking] == outside.rows("shipments", "tracking")
    assert (shipped.total, shipped.purchase) == (TOTAL, purchase())


async def test_order_the_carrier_does_not_take_is_announced_as_failed(shipping: ShippingService) -> None:
    fact = PaymentProcessed(order_id=ORDER, total=TOTAL, purchase=purchase(postcode="00000"))
    await shipping.hear(shipping.events.on_payment_processed, fact)

    (failed,) = await shipping.facts()
    assert isinstance(failed, ShippingFailed)
    assert failed.refusal.reason == "NO_SERVICE_AREA"


async def test_cancel_that_comes_too_late_is_refused(shipping: ShippingService) -> None:
    await shipping.hear(shipping.events.on_payment_processed, PAID)
    for event_id in ("the customer's", "the watchdog's", "the watchdog's"):
        await shipping.hear(shipping.events.on_order_cancel_requested, CANCEL, event_id)

    _, *refused = await shipping.facts()
    assert [type(fact) for fact in refused] == [ShipmentCancelRefused] * 2
    assert {fact.refusal.reason for fact in refused} == {"ALREADY_SHIPPED"}


async def test_cancel_that_comes_first_is_granted_and_fails_the_shipment(
    shipping: ShippingService, outside: Outside
) -> None:
    await shipping.hear(shipping.events.on_order_cancel_requested, CANCEL)
    await shipping.hear(shipping.events.on_payment_processed, PAID)

    cancelled, failed = await shipping.facts()
    assert isinstance(cancelled, ShipmentCancelled)
    assert isinstance(failed, ShippingFailed)
    assert failed.refusal.reason == "SHIPMENT_CANCELLED"
    assert outside.rows("shipments", "state") == []


async def test_orphaned_booking_is_settled_and_not_announced(shipping: ShippingService) -> None:
    with pytest.raises(Outage):
        await shipping.ship("44444")

    await shipping.let_a_minute_pass()
    await asyncio.gather(shipping.sweep(), shipping.sweep())

    assert (await shipping.now()).state == SHIPMENT_STATE_SHIPPED
    assert await shipping.facts() == []


async def test_orphaned_cancel_is_settled(shipping: ShippingService, outside: Outside) -> None:
    await outside.end()
    for call in (shipping.ship, shipping.cancel):
        with pytest.raises(Outage):
            await call()
    await outside.begin()

    await shipping.let_a_minute_pass()
    await shipping.sweep()

    assert (await shipping.now()).state == SHIPMENT_STATE_CANCELLED
    assert outside.rows("shipments", "state") == ["cancelled"]


# --- notification


async def test_confirmation_names_order_total_and_tracking(notification: NotificationService, outside: Outside) -> None:
    for _ in range(2):
        assert await notification.send() == NOTIFICATION_STATE_SENT

    (raw,) = outside.rows("mails", "raw")
    sent = message_from_string(raw.decode())
    assert sent["Message-ID"] == "<n-1@ensemble.example>"
    assert sent["To"] == "ada@example.com"
    assert ORDER in sent["Subject"]
    assert "19.99 EUR" in sent.get_payload()
    assert "trk_1" in sent.get_payload()


async def test_many_mails_at_once_arrive_once_each(notification: NotificationService, outside: Outside) -> None:
    await asyncio.gather(*(notification.send(number) for number in range(50)))

    assert sorted(outside.rows("mails", "message_id")) == sorted(f"<n-{n}@ensemble.example>" for n in range(50))


@pytest.mark.parametrize(
    "email", ["bounce@example.com", "ad\u00e4@example.com", 'a"b@c', "a@b@c", "<@>", "a\u2028b@example.com"]
)
async def test_mailbox_that_takes_no_mail_is_refused_and_the_next_one_is_served(
    notification: NotificationService, outside: Outside, email: str
) -> None:
    for _ in range(2):
        with pytest.raises(Refusal) as refusal:
            await notification.send(email=email)
        assert refusal.value.reason == "MAILBOX_REFUSED"
        assert email not in refusal.value.message

    assert await notification.send(2) == NOTIFICATION_STATE_SENT
    assert outside.rows("mails", "recipient") == ["ada@example.com"]


async def test_mail_server_that_was_away_is_connected_to_again(
    notification: NotificationService, outside: Outside
) -> None:
    await notification.send(1)
    await outside.end()
    with pytest.raises(Outage) as outage:
        await notification.send(2)
    assert "ada" not in str(outage.value)

    await outside.begin()
    assert await notification.send(2) == NOTIFICATION_STATE_SENT
    assert outside.rows("mails", "message_id") == ["<n-1@ensemble.example>", "<n-2@ensemble.example>"]


async def test_client_that_gives_up_does_not_spoil_the_connection_for_the_next(
    notification: NotificationService, outside: Outside
) -> None:
    for number in range(20):
        call = asyncio.ensure_future(notification.send(number))
        await asyncio.wait({call}, timeout=number / 2000)  # somewhere in the dialogue
        await give_up(call)

    for number in range(20):
        assert await notification.send(number) == NOTIFICATION_STATE_SENT
    assert set(outside.rows("mails", "message_id")) == {f"<n-{n}@ensemble.example>" for n in range(20)}


async def test_shipped_order_is_confirmed_once_however_often_it_is_told(
    notification: NotificationService, outside: Outside
) -> None:
    for _ in range(3):
        await notification.hear(notification.events.on_order_shipped, ON_ITS_WAY)

    notification_id = f"{ORDER}.send_notification"
    assert await notification.facts() == [NotificationSent(order_id=ORDER, notification_id=notification_id)]
    assert outside.rows("mails", "message_id") == [f"<{notification_id}@ensemble.example>"]


async def test_mailbox_that_takes_no_mail_is_no_fact(notification: NotificationService) -> None:
    fact = OrderShipped()
    fact.CopyFrom(ON_ITS_WAY)
    fact.purchase.email = "bounce@example.com"

    await notification.hear(notification.events.on_order_shipped, fact)

    assert await notification.facts() == []
    (only,) = (await notification.list()).notifications
    assert only.state == NOTIFICATION_STATE_REFUSED


async def test_orphaned_notification_is_sent(notification: NotificationService, outside: Outside) -> None:
    await outside.end()
    with pytest.raises(Outage):
        await notification.send()
    await outside.begin()

    await notification.let_a_minute_pass()
    await asyncio.gather(notification.sweep(), notification.sweep())

    (only,) = (await notification.list()).notifications
    assert only.state == NOTIFICATION_STATE_SENT
    assert outside.rows("mails", "message_id") == ["<n-1@ensemble.example>"]


async def test_notifications_are_listed_newest_first_in_pages_and_by_order(notification: NotificationService) -> None:
    other = ORDER[:-1] + "2"
    for number in range(5):
        await notification.send(number, order_id=other if number == 3 else ORDER)

    first = await notification.list(page_size=3)
    second = await notification.list(page_size=3, page_token=first.next_page_token)

    assert [each.notification_id for each in first.notifications] == ["n-4", "n-3", "n-2"]
    assert [each.notification_id for each in second.notifications] == ["n-1", "n-0"]
    assert not second.next_page_token
    assert [each.notification_id for each in (await notification.list(order_id=other)).notifications] == ["n-3"]
    assert not (await notification.list(order_id="no order")).notifications
