"""The outcome of a choreographed order follows from the facts, in whatever order they arrive."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orders.core import Line, Order, Reason, Shipped, State, after_learning, awaited

LINES = (Line("MUG", 1),)
NEW = Order("0193a8b0-0000-7000-8000-000000000000", choreographed=True, customer_id="ada", lines=LINES)
CANCELLING = Order(NEW.order_id, True, "ada", LINES, State.CANCELLING, Reason.CUSTOMER_REQUEST)
SHIPPED = Shipped("T1", "EUR", 500)

STORIES = {
    ("InventoryReserved", "PaymentProcessed", "OrderShipped", "NotificationSent"): State.COMPLETED,
    ("InventoryReservationFailed",): State.CANCELLED,
    ("InventoryReserved", "PaymentFailed", "InventoryReleased"): State.CANCELLED,
    (
        "InventoryReserved",
        "PaymentProcessed",
        "ShippingFailed",
        "PaymentRefunded",
        "InventoryReleased",
    ): State.CANCELLED,
}
CANCELLED_STORIES = {
    ("ShipmentCancelled", "PaymentRefunded", "InventoryReleased"): State.CANCELLED,
    ("InventoryReserved", "ShipmentCancelled", "InventoryReleased", "PaymentRefunded"): State.CANCELLED,
    ("ShipmentCancelled", "InventoryReleased", "PaymentRefunded", "InventoryReservationFailed"): State.CANCELLED,
    ("ShipmentCancelled", "PaymentRefunded", "InventoryReleased", "PaymentFailed"): State.CANCELLED,
    ("InventoryReserved", "PaymentProcessed", "OrderShipped", "ShipmentCancelRefused"): State.COMPLETED,
}
ALL = [(NEW, *story) for story in STORIES.items()] + [(CANCELLING, *story) for story in CANCELLED_STORIES.items()]


@pytest.mark.parametrize(("order", "facts", "outcome"), ALL)
def test_every_order_of_arrival_leads_to_the_same_outcome(order: Order, facts: tuple[str, ...], outcome: State) -> None:
    for permutation in itertools.permutations(facts):
        after = order
        for fact in permutation:
            after = after_learning(after, fact, SHIPPED if fact == "OrderShipped" else None)
        assert after.state is outcome, permutation


@given(st.sampled_from(ALL), st.data())
def test_facts_that_arrive_again_change_nothing(
    story: tuple[Order, tuple[str, ...], State], data: st.DataObject
) -> None:
    after, facts, outcome = story
    for fact in data.draw(st.lists(st.sampled_from(facts), max_size=12)) + list(facts):
        after = after_learning(after, fact, SHIPPED if fact == "OrderShipped" else None)
    assert after.state is outcome


@pytest.mark.parametrize(("order", "facts", "outcome"), ALL)
def test_an_order_is_not_cancelled_before_everything_is_undone(
    order: Order, facts: tuple[str, ...], outcome: State
) -> None:
    """With any needed answer missing, the order waits."""
    needed = {"PaymentRefunded", "InventoryReleased"} & set(facts)
    if outcome is not State.CANCELLED or {"InventoryReservationFailed", "PaymentFailed"} & set(facts):
        return
    for missing in needed:
        after = order
        for fact in facts:
            if fact != missing:
                after = after_learning(after, fact)
        assert after.state is State.CANCELLING


def test_a_cancel_that_was_asked_for_waits_for_the_refund_though_the_payment_failed() -> None:
    """It may have failed because the refund came first, with the money not yet given back."""
    after = CANCELLING
    for fact in ("ShipmentCancelled", "InventoryReleased", "PaymentFailed"):
        after = after_learning(after, fact)
    assert after.state is State.CANCELLING

    assert after_learning(after, "PaymentRefunded").state is State.CANCELLED


def test_the_first_reason_stays() -> None:
    after = after_learning(CANCELLING, "PaymentFailed")

    assert after.reason is Reason.CUSTOMER_REQUEST


@pytest.mark.parametrize(
    ("reason", "learned", "missing"),
    [
        (Reason.CUSTOMER_REQUEST, (), {"InventoryReleased", "PaymentRefunded"}),
        (Reason.CUSTOMER_REQUEST, ("PaymentFailed", "InventoryReleased"), {"PaymentRefunded"}),
        (Reason.TIMED_OUT, ("ShipmentCancelRefused",), {"OrderShipped"}),
        (Reason.PAYMENT_DECLINED, ("PaymentFailed",), {"InventoryReleased"}),
        (Reason.SHIPPING_REFUSED, ("ShippingFailed", "PaymentRefunded"), {"InventoryReleased"}),
    ],
)
def test_what_a_cancel_waits_for_can_be_told(reason: Reason, learned: tuple[str, ...], missing: set[str]) -> None:
    assert awaited(replace(CANCELLING, reason=reason, learned=frozenset(learned))) == missing
