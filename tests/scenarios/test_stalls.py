"""A service that is away for long: orders wait for it, or end without it, and it agrees when it is back."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
from shop.customer.v1 import customer_service_pb2 as pb
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED
from shop.orders.v1.order_pb2 import ORDER_STATE_CANCELLING, ORDER_STATE_COMPLETED

from cli.stack.layout import Layout
from cli.stack.local import Plan
from cli.stack.ports import free_port_base
from cli.stack.program import Program
from tests import shop as shop_
from tests.eventually import eventually
from tests.shop import OwnShop, Shop, state_of

pytestmark = [pytest.mark.system, pytest.mark.own_shop, pytest.mark.timeout(240)]

ORDERS = 5
LIMIT_SECONDS = 0.5
"""After which the watchdog asks for a cancel, in a shop that is in a hurry."""


@pytest.fixture(scope="module")
async def hasty(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OwnShop]:
    """A shop whose watchdog does not wait long."""
    layout = Layout(free_port_base())
    async with shop_.opened(Plan(tmp_path_factory.mktemp("hasty"), layout, adjusted=_hurried)) as shop:
        yield shop


def _hurried(program: Program) -> Program:
    settings = {**program.settings}
    if program.name == "orders":
        settings["ENSEMBLE_FULFILMENT_SECONDS"] = str(LIMIT_SECONDS)
    return replace(program, settings=settings)


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncGenerator[OwnShop]:
    async with shop_.opened(shop_.planned(tmp_path)) as shop:
        yield shop


def events(order: pb.Order) -> set[str]:
    return {entry.event for entry in order.timeline}


async def test_orders_wait_while_inventory_is_away_and_finish_when_it_is_back(patient: OwnShop) -> None:
    sku = await patient.stocked(ORDERS)
    async with patient.without("inventory"):
        orders = [await patient.place(MODE_CHOREOGRAPHED, sku=sku) for _ in range(ORDERS)]
        for order in orders:
            waiting = await patient.seen(order, lambda current: "OrderCreated" in events(current))
            assert events(waiting) == {"OrderCreated"}

    ends = [await patient.outcome(order) for order in orders]
    assert {order.state for order in ends} == {ORDER_STATE_COMPLETED}
    assert await patient.available(sku) == 0


async def test_an_order_that_payment_never_answers_is_cancelled_and_payment_finds_the_tombstone(hasty: OwnShop) -> None:
    sku = await hasty.stocked(ORDERS)
    async with hasty.without("payment"):
        orders = [await hasty.place(MODE_CHOREOGRAPHED, sku=sku) for _ in range(ORDERS)]
        for order in orders:
            await hasty.seen(order, lambda current: current.state == ORDER_STATE_CANCELLING)
        await eventually(lambda: _is_back(hasty, sku, ORDERS))

    for order in orders:
        end = await hasty.outcome(order)
        assert state_of(end) == ("CANCELLED", "TIMED_OUT")
        assert await hasty.charge(order) in (None, "cancelled")  # never charged, so nothing was refunded
    assert await hasty.available(sku) == ORDERS


async def _is_back(shop: Shop, sku: str, pieces: int) -> bool:
    return await shop.available(sku) == pieces


async def test_a_shipment_that_was_made_just_before_the_timeout_wins_and_nothing_is_refunded(hasty: OwnShop) -> None:
    """The carrier has the parcel at once, and says so after two seconds: the watchdog is quicker."""
    sku = await hasty.stocked(1)
    order = await hasty.place(MODE_CHOREOGRAPHED, sku=sku, postcode="55555")

    assert state_of(await hasty.outcome(order)) == ("COMPLETED", "UNSPECIFIED")
    await eventually(lambda: _has_heard(hasty, order, {"OrderCancelRequested", "ShipmentCancelRefused"}))
    assert await hasty.charge(order) == "charged"
    assert await hasty.available(sku) == 0


async def _has_heard(shop: Shop, order: pb.Order, facts: set[str]) -> bool:
    found = await shop.customers.GetOrder(pb.GetOrderRequest(order_id=order.order_id))
    return facts <= events(found.order)
