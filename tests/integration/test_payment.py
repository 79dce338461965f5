"""Payment: both doors, over a real database, against a real gateway."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from shop.inventory.v1.inventory_facts_pb2 import InventoryReserved
from shop.payment.v1.payment_facts_pb2 import PaymentFailed, PaymentProcessed, PaymentRefunded
from shop.payment.v1.payment_pb2 import (
    PAYMENT_STATE_CHARGED,
    PAYMENT_STATE_CHARGING,
    PAYMENT_STATE_DECLINED,
    PAYMENT_STATE_REFUNDED,
    PAYMENT_STATE_REFUNDING,
)
from shop.shipping.v1.shipping_facts_pb2 import ShipmentCancelled, ShippingFailed
from shop.type.v1.money_pb2 import Money

from mesh.errors import Outage, Refusal
from services.payment.outside import HttpGateway
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.outside import ORDER, TOTAL, Outside, PaymentService, a_service, give_up
from tests.purchases import purchase

pytestmark = pytest.mark.integration

RESERVED = InventoryReserved(order_id=ORDER, reservation_id="r-1", total=TOTAL, purchase=purchase())


@pytest.fixture
async def payment(foundations: Foundations, outside: Outside) -> AsyncGenerator[PaymentService]:
    async with a_service(PaymentService, HttpGateway.open(outside.http_url), foundations) as service:
        yield service


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
    await asyncio.gather(*(payment.hear(RESERVED) for _ in range(5)))
    await payment.hear(RESERVED)

    payment_id = f"{ORDER}.process_payment"
    announced = PaymentProcessed(order_id=ORDER, payment_id=payment_id, total=TOTAL, purchase=purchase())
    assert await payment.facts() == [announced]
    assert outside.rows("payments", "key") == [payment_id]


async def test_declined_order_is_announced_as_failed(payment: PaymentService) -> None:
    fact = InventoryReserved(order_id=ORDER, total=TOTAL, purchase=purchase(token="tok_declined"))
    await payment.hear(fact)

    (failed,) = await payment.facts()
    assert isinstance(failed, PaymentFailed)
    assert failed.refusal.reason == "CARD_DECLINED"


@pytest.mark.parametrize("undone", [ShippingFailed(order_id=ORDER), ShipmentCancelled(order_id=ORDER)])
async def test_order_that_is_not_shipped_is_refunded_once(
    payment: PaymentService, outside: Outside, undone: ShippingFailed | ShipmentCancelled
) -> None:
    await payment.hear(RESERVED)
    for _ in range(2):
        await payment.hear(undone)

    _, refunded = await payment.facts()
    assert isinstance(refunded, PaymentRefunded)
    assert refunded.amount == TOTAL
    assert outside.rows("payments", "state") == ["refunded"]


async def test_order_undone_before_it_was_charged_never_is(payment: PaymentService, outside: Outside) -> None:
    await payment.hear(ShipmentCancelled(order_id=ORDER))
    await payment.hear(RESERVED)

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
        await payment.hear(RESERVED)
    assert await payment.facts() == []

    await outside.begin()
    await payment.hear(RESERVED)
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
