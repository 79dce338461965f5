"""A load of orders: who asks for what."""

from collections import Counter

from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED, Order
from shop.orders.v1.order_pb2 import (
    CANCEL_REASON_PAYMENT_DECLINED,
    ORDER_STATE_CANCELLED,
    ORDER_STATE_COMPLETED,
)

from cli.load import Load, Outcome, Tally

BOTH = (MODE_ORCHESTRATED, MODE_CHOREOGRAPHED)


def test_a_tenth_declined_and_a_tenth_out_of_stock_fall_on_both_modes_alike() -> None:
    load = Load("r", BOTH, count=1000, declined_every=10, out_of_stock_every=10)

    requests = [load.request(number) for number in range(1000)]

    kinds = Counter((each.mode, each.purchase.payment_token, each.purchase.items[0].sku) for each in requests)
    assert kinds == {
        (mode, token, sku): orders
        for mode in BOTH
        for token, sku, orders in [
            ("tok_visa", "KETTLE-1", 400),
            ("tok_declined", "KETTLE-1", 50),
            ("tok_visa", "LIMITED-1", 50),
        ]
    }


def test_every_order_of_a_load_has_a_request_id_of_its_own_that_stays_the_same() -> None:
    load = Load("r", BOTH, count=3)

    assert [load.request(number).request_id for number in (0, 1, 2, 2)] == ["r-0", "r-1", "r-2", "r-2"]


def test_a_single_order_goes_by_the_request_id_as_it_was_given() -> None:
    assert Load("mine", BOTH).request(0).request_id == "mine"


def test_outcomes_are_counted_by_mode_state_and_reason() -> None:
    tally = Tally()
    for _ in range(2):
        tally.add(Order(mode=MODE_ORCHESTRATED, state=ORDER_STATE_COMPLETED))
    tally.add(
        Order(
            mode=MODE_CHOREOGRAPHED,
            state=ORDER_STATE_CANCELLED,
            cancel_reason=CANCEL_REASON_PAYMENT_DECLINED,
        )
    )

    assert tally.orders == 3
    assert tally.outcomes == {
        Outcome("orchestrated", "COMPLETED", ""): 2,
        Outcome("choreographed", "CANCELLED", "PAYMENT_DECLINED"): 1,
    }
