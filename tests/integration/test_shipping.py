"""Shipping: both doors, over a real database, against a real carrier."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from shop.orders.v1.orders_facts_pb2 import OrderCancelRequested
from shop.payment.v1.payment_facts_pb2 import PaymentProcessed
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

from mesh.errors import Outage, Refusal
from services.shipping.outside import HttpCarrier
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.outside import ORDER, TOTAL, Outside, ShippingService, a_service, give_up
from tests.purchases import purchase

pytestmark = pytest.mark.integration

PAID = PaymentProcessed(order_id=ORDER, payment_id="p-1", total=TOTAL, purchase=purchase())
CANCEL = OrderCancelRequested(order_id=ORDER)


@pytest.fixture
async def shipping(foundations: Foundations, outside: Outside) -> AsyncGenerator[ShippingService]:
    async with a_service(ShippingService, HttpCarrier.open(outside.http_url), foundations) as service:
        yield service


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
    await asyncio.gather(*(shipping.hear(PAID) for _ in range(5)))
    await shipping.hear(PAID)

    (shipped,) = await shipping.facts()
    assert isinstance(shipped, OrderShipped)
    assert [shipped.tracking] == outside.rows("shipments", "tracking")
    assert (shipped.total, shipped.purchase) == (TOTAL, purchase())


async def test_order_the_carrier_does_not_take_is_announced_as_failed(shipping: ShippingService) -> None:
    fact = PaymentProcessed(order_id=ORDER, total=TOTAL, purchase=purchase(postcode="00000"))
    await shipping.hear(fact)

    (failed,) = await shipping.facts()
    assert isinstance(failed, ShippingFailed)
    assert failed.refusal.reason == "NO_SERVICE_AREA"


async def test_cancel_that_comes_too_late_is_refused(shipping: ShippingService) -> None:
    await shipping.hear(PAID)
    for event_id in ("the customer's", "the watchdog's", "the watchdog's"):
        await shipping.hear(CANCEL, event_id)

    _, *refused = await shipping.facts()
    assert [type(fact) for fact in refused] == [ShipmentCancelRefused] * 2
    assert {fact.refusal.reason for fact in refused} == {"ALREADY_SHIPPED"}


async def test_cancel_that_comes_first_is_granted_and_fails_the_shipment(
    shipping: ShippingService, outside: Outside
) -> None:
    await shipping.hear(CANCEL)
    await shipping.hear(PAID)

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
