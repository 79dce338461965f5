"""Every way that an order can end leaves one connected trace: the tree that is drawn in `tests/traces`."""

import uuid
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest
from shop.customer.v1 import customer_service_pb2 as pb
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED

from mesh.events import dead_letters, resolution
from mesh.events.bus import Bus
from mesh.events.dead_letters import Which
from mesh.events.resolution import Operator
from tests import shop as shop_
from tests.eventually import eventually
from tests.purchases import purchase
from tests.stage import Stage

pytestmark = [pytest.mark.system, pytest.mark.own_shop]

Mode = pb.Mode.ValueType

SPOIL = "UPDATE reservation SET order_id = gen_random_uuid() WHERE order_id = $1 RETURNING reservation_id"
MEND = "UPDATE reservation SET order_id = $1 WHERE reservation_id = $2"


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage]:
    """A shop of its own: once it is down, nothing can be added to a trace."""
    async with Stage.open(shop_.planned(tmp_path_factory.mktemp("traced"))) as stage:
        yield stage


@pytest.mark.parametrize(
    ("scenario", "wanted"),
    [
        ("fulfilled", {}),
        ("declined", {"token": "tok_declined"}),
        ("out_of_stock", {"quantity": 11}),
        ("carrier_refuses", {"postcode": "00000"}),
        ("gateway_loses_its_answer", {"token": "tok_flaky"}),
        ("carrier_loses_its_answer", {"postcode": "44444"}),
    ],
)
async def test_an_outcome_is_one_tree(stage: Stage, mode: Mode, scenario: str, wanted: dict[str, Any]) -> None:
    placed = await stage.shop.place(mode, sku=await stage.shop.stocked(10), **wanted)

    await stage.expect(scenario, await stage.shop.outcome(placed))


async def test_an_item_that_does_not_exist_is_one_tree(stage: Stage, mode: Mode) -> None:
    placed = await stage.shop.place(mode, sku="NO-SUCH-THING")

    await stage.expect("unknown_item", await stage.shop.outcome(placed))


async def test_what_fails_is_repeated_in_the_same_trace(stage: Stage, mode: Mode) -> None:
    async with stage.failing_once("payment", "payment"):
        placed = await stage.shop.place(mode, sku=await stage.shop.stocked(1))
        order = await stage.shop.outcome(placed)

    await stage.expect("payment_fails_once", order)


async def test_a_cancel_in_time_is_part_of_the_orders_trace(stage: Stage, mode: Mode) -> None:
    placed = await stage.shop.place(mode, sku=await stage.shop.stocked(10), token="tok_slow")
    await stage.charged(placed)

    await stage.shop.cancel(placed)

    await stage.expect("cancelled", await stage.shop.outcome(placed))


async def test_a_cancel_that_comes_too_late_is_part_of_the_orders_trace(stage: Stage, mode: Mode) -> None:
    placed = await stage.shop.place(mode, sku=await stage.shop.stocked(10), postcode="55555")
    await stage.shipped(placed)

    await stage.shop.cancel(placed)

    await stage.expect("cancelled_too_late", await stage.shop.outcome(placed))


async def test_a_cancel_that_is_refused_is_part_of_the_orders_trace(stage: Stage, mode: Mode) -> None:
    order = await stage.shop.outcome(await stage.shop.place(mode, sku=await stage.shop.stocked(1)))

    with pytest.raises(grpc.aio.AioRpcError, match="is completed"):
        await stage.shop.cancel(order)

    await stage.expect("cancelled_when_completed", order)


async def test_a_cancel_that_is_repeated_is_told_once(stage: Stage, mode: Mode) -> None:
    order = await stage.shop.outcome(await stage.shop.place(mode, sku=await stage.shop.stocked(1), quantity=2))
    request = pb.CancelOrderRequest(request_id=uuid.uuid4().hex, order_id=order.order_id)

    await stage.shop.customers.CancelOrder(request)
    await stage.shop.customers.CancelOrder(request)

    await stage.expect("cancelled_when_cancelled", order)


async def test_an_order_that_is_placed_twice_has_the_trace_of_one(stage: Stage, mode: Mode) -> None:
    sku, request_id = await stage.shop.stocked(1), uuid.uuid4().hex
    placed = await stage.shop.place(mode, request_id, sku=sku)

    await stage.shop.place(mode, request_id, sku=sku)

    await stage.expect("fulfilled", await stage.shop.outcome(placed))


async def test_a_call_that_places_nothing_bears_no_orders_id(stage: Stage, mode: Mode) -> None:
    sku, request_id = await stage.shop.stocked(1), uuid.uuid4().hex
    placed = await stage.shop.place(mode, request_id, sku=sku)
    repeat = pb.PlaceOrderRequest(request_id=request_id, mode=mode, purchase=purchase(sku=sku))

    call = stage.shop.customers.PlaceOrder(repeat)
    await call
    trace_id = dict(await call.trailing_metadata())["trace-id"]

    await eventually(lambda: trace_id in {span.trace_id for span in stage.collector.spans})
    (span,) = (span for span in stage.collector.spans if span.trace_id == trace_id)
    assert "order.id" not in span.attributes
    await stage.shop.outcome(placed)


async def test_the_answer_says_which_trace_to_look_at(stage: Stage, mode: Mode) -> None:
    request = pb.PlaceOrderRequest(
        request_id=uuid.uuid4().hex, mode=mode, purchase=purchase(sku=await stage.shop.stocked(1))
    )

    call = stage.shop.customers.PlaceOrder(request)
    order = (await call).order
    trace_id = dict(await call.trailing_metadata())["trace-id"]

    await stage.expect("fulfilled", await stage.shop.outcome(order))
    assert {span.trace_id for span in stage.collector.of_order(order.order_id)} == {trace_id}


async def test_the_watchdogs_cancel_is_part_of_the_orders_trace(stage: Stage) -> None:
    """Payment, when it is back, hears of the cancel first: what is off is not begun."""
    async with stage.shop.without("payment"):
        placed = await stage.shop.place(MODE_CHOREOGRAPHED, sku=await stage.shop.stocked(1))
        await stage.learned(placed, "InventoryReserved")
        await stage.query("orders", "UPDATE orders SET due_at = now() WHERE order_id = $1", placed.order_id)
        await stage.learned(placed, "InventoryReleased")

    await stage.expect("timed_out", await stage.shop.outcome(placed))


async def test_a_fact_that_is_replayed_from_the_dead_letters_goes_on_in_the_orders_trace(stage: Stage) -> None:
    """What seems to be another order's reservation cannot be released, until it is set right."""
    with stage.frozen("payment"):
        placed = await stage.shop.place(MODE_CHOREOGRAPHED, sku=await stage.shop.stocked(1), token="tok_declined")
        await stage.learned(placed, "InventoryReserved")
        reservation_id = await stage.query("inventory", SPOIL, placed.order_id)
    await stage.reported(placed, "process shop.payment.v1.PaymentFailed.*", 2)

    await stage.query("inventory", MEND, placed.order_id, reservation_id)
    await replay(stage, Which(durable="inventory_PaymentFailed", key=placed.order_id))

    await stage.expect("replayed", await stage.shop.outcome(placed))


async def replay(stage: Stage, which: Which) -> None:
    """Replay the one letter that is meant, once it is there."""
    async with Bus.open(stage.shop.state.nats_url, "operator") as bus:
        await bus.connected.wait()
        while not (letters := [letter async for letter in dead_letters.letters(bus, which)]):
            pass
        await resolution.replay(bus, letters[0], Operator("ada@desk", "it is set right"))
