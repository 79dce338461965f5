"""How an order can end, each in both modes: the same request, the same answer, the same books."""

import asyncio
import uuid

import grpc
import pytest
from shop.customer.v1 import customer_service_pb2 as pb
from shop.orders.v1.order_pb2 import ORDER_STATE_CANCELLED, ORDER_STATE_COMPLETED

from cli.books import settled
from mesh.identity import new_id
from mesh.rpc.status import error_info
from tests.shop import Shop, state_of

pytestmark = pytest.mark.system

Mode = pb.Mode.ValueType


async def refusal(call: object) -> tuple[str, str]:
    """Code and reason of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call  # type: ignore[misc]
    return error.value.code().name, error_info(error.value).reason


async def test_an_order_is_reserved_paid_shipped_and_confirmed(shop: Shop, mode: Mode) -> None:
    sku = await shop.stocked(10)
    before = await shop.books()

    placed = await shop.place(mode, sku=sku, quantity=3)
    order = await shop.outcome(placed)

    assert state_of(order) == ("COMPLETED", "UNSPECIFIED")
    assert (order.total.currency, order.total.amount_minor) == ("EUR", 1500)
    assert order.tracking
    assert (order.order_id, order.mode) == (placed.order_id, mode)
    assert [entry.at.ToNanoseconds() for entry in order.timeline] == sorted(
        entry.at.ToNanoseconds() for entry in order.timeline
    )
    assert await shop.available(sku) == 7
    assert all(line.balances for line in await settled(before, shop.books))


async def test_a_declined_card_gives_the_stock_back(shop: Shop, mode: Mode) -> None:
    sku = await shop.stocked(10)

    order = await shop.outcome(await shop.place(mode, sku=sku, token="tok_declined"))

    assert state_of(order) == ("CANCELLED", "PAYMENT_DECLINED")
    assert await shop.available(sku) == 10
    assert await shop.charge(order) == "declined"


async def test_too_few_in_stock_cancels_without_charging(shop: Shop, mode: Mode) -> None:
    sku = await shop.stocked(2)

    order = await shop.outcome(await shop.place(mode, sku=sku, quantity=3))

    assert state_of(order) == ("CANCELLED", "OUT_OF_STOCK")
    assert await shop.available(sku) == 2
    assert await shop.charge(order) is None


async def test_an_item_that_does_not_exist_cancels_without_charging(shop: Shop, mode: Mode) -> None:
    order = await shop.outcome(await shop.place(mode, sku="NO-SUCH-THING"))

    assert state_of(order) == ("CANCELLED", "OUT_OF_STOCK")
    assert await shop.charge(order) is None


async def test_a_parcel_the_carrier_refuses_is_refunded_and_put_back(shop: Shop, mode: Mode) -> None:
    sku = await shop.stocked(10)

    order = await shop.outcome(await shop.place(mode, sku=sku, postcode="00000"))

    assert state_of(order) == ("CANCELLED", "SHIPPING_REFUSED")
    assert await shop.available(sku) == 10
    assert await shop.charge(order) == "refunded"


async def test_a_cancel_before_the_parcel_leaves_undoes_everything(shop: Shop, mode: Mode) -> None:
    sku = await shop.stocked(10)
    placed = await shop.place(mode, sku=sku, token="tok_slow")
    await shop.seen(placed, lambda order: any("reserve" in entry.event.lower() for entry in order.timeline))

    await shop.cancel(placed)
    order = await shop.outcome(placed)

    assert state_of(order) == ("CANCELLED", "CUSTOMER_REQUEST")
    assert await shop.available(sku) == 10
    assert await shop.charge(order) in {"refunded", "cancelled", None}


async def test_a_cancel_while_the_carrier_is_taking_the_parcel_comes_too_late(shop: Shop, mode: Mode) -> None:
    sku = await shop.stocked(10)
    placed = await shop.place(mode, sku=sku, postcode="55555")
    await shop.seen(placed, lambda order: any("payment" in entry.event.lower() for entry in order.timeline))

    async def booked() -> bool:
        return any(placed.order_id in each["key"] for each in (await shop.ledger())["shipments"])

    while not await booked():
        await asyncio.sleep(0.01)
    await shop.cancel(placed)
    order = await shop.outcome(placed)

    assert state_of(order)[0] == "COMPLETED"
    assert await shop.charge(order) == "charged"
    assert await shop.available(sku) == 9


async def test_a_completed_order_cannot_be_cancelled(shop: Shop, mode: Mode) -> None:
    order = await shop.outcome(await shop.place(mode, sku=await shop.stocked(1)))

    assert await refusal(shop.cancel(order)) == ("FAILED_PRECONDITION", "ORDER_COMPLETED")


async def test_cancelling_twice_with_the_same_request_id_gets_the_same_answer(shop: Shop, mode: Mode) -> None:
    order = await shop.outcome(await shop.place(mode, sku=await shop.stocked(1), quantity=2))
    request = pb.CancelOrderRequest(request_id=uuid.uuid4().hex, order_id=order.order_id)

    first = await shop.customers.CancelOrder(request)
    again = await shop.customers.CancelOrder(request)

    assert again == first
    assert first.order.state == ORDER_STATE_CANCELLED


@pytest.mark.parametrize("wanted", [{"token": "tok_flaky"}, {"postcode": "44444"}], ids=["gateway", "carrier"])
async def test_an_answer_lost_outside_neither_charges_nor_ships_twice(
    shop: Shop, mode: Mode, wanted: dict[str, str]
) -> None:
    order = await shop.outcome(await shop.place(mode, sku=await shop.stocked(5), **wanted))

    assert state_of(order)[0] == "COMPLETED"
    ledger = await shop.ledger()
    assert len([each for each in ledger["payments"] if order.order_id in each["key"]]) == 1
    assert len([each for each in ledger["shipments"] if order.order_id in each["key"]]) == 1


async def test_two_orders_race_for_the_last_item_and_one_wins(shop: Shop, mode: Mode) -> None:
    sku = await shop.stocked(1)

    placed = await asyncio.gather(*(shop.place(mode, sku=sku) for _ in range(8)))
    orders = await asyncio.gather(*(shop.outcome(each) for each in placed))

    assert sorted(state_of(order)[0] for order in orders) == ["CANCELLED"] * 7 + ["COMPLETED"]
    assert await shop.available(sku) == 0


async def test_the_modes_race_for_the_last_item_and_one_wins(shop: Shop) -> None:
    sku = await shop.stocked(1)
    modes = [pb.MODE_ORCHESTRATED, pb.MODE_CHOREOGRAPHED] * 4

    placed = await asyncio.gather(*(shop.place(mode, sku=sku) for mode in modes))
    orders = await asyncio.gather(*(shop.outcome(each) for each in placed))

    assert sum(order.state == ORDER_STATE_COMPLETED for order in orders) == 1
    assert await shop.available(sku) == 0


async def test_placing_again_with_the_same_request_id_gets_the_first_answer(shop: Shop, mode: Mode) -> None:
    sku = await shop.stocked(5)
    request_id = uuid.uuid4().hex

    first = await shop.place(mode, request_id, sku=sku)
    again = await shop.place(mode, request_id, sku=sku)
    await shop.outcome(first)

    assert again == first
    assert await shop.available(sku) == 4


async def test_a_request_id_with_another_body_is_refused(shop: Shop, mode: Mode) -> None:
    sku = await shop.stocked(5)
    request_id = uuid.uuid4().hex
    await shop.place(mode, request_id, sku=sku)

    answer = await refusal(shop.place(mode, request_id, sku=sku, quantity=2))

    assert answer == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_an_order_shows_its_timeline_while_and_after_it_is_fulfilled(shop: Shop, mode: Mode) -> None:
    placed = await shop.place(mode, sku=await shop.stocked(1))
    watching = shop.customers.WatchOrder(pb.WatchOrderRequest(order_id=placed.order_id))
    seen = [change.order async for change in watching]
    read = (await shop.customers.GetOrder(pb.GetOrderRequest(order_id=placed.order_id))).order

    lengths = [len(order.timeline) for order in seen]
    assert lengths == sorted(lengths)
    assert len(seen) > 1
    assert list(seen[-1].timeline) == list(read.timeline)[: len(seen[-1].timeline)]
    assert state_of(read) == ("COMPLETED", "UNSPECIFIED")


async def test_an_order_that_was_never_placed_is_not_found(shop: Shop) -> None:
    order_id = new_id()
    for call in (
        shop.customers.GetOrder(pb.GetOrderRequest(order_id=order_id)),
        shop.customers.CancelOrder(pb.CancelOrderRequest(request_id=order_id, order_id=order_id)),
        shop.customers.WatchOrder(pb.WatchOrderRequest(order_id=order_id)).read(),
    ):
        assert await refusal(call) == ("NOT_FOUND", "ORDER_NOT_FOUND")
