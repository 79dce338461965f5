"""Every process is killed with -9 while orders are under way: nothing is lost, nothing happens twice."""

import asyncio
import signal
from collections.abc import AsyncGenerator

import pytest
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED
from shop.orders.v1.order_pb2 import ORDER_STATE_COMPLETED

from cli.books import settled
from cli.load import Load
from tests import shop as shop_
from tests.load import Customers
from tests.shop import OwnShop, state_of

pytestmark = [pytest.mark.system, pytest.mark.own_shop, pytest.mark.timeout(400)]

STOCK = 9_000
CUSTOMERS = 16
FOUNDATIONS = ("postgres", "nats", "sandbox")
SERVICES = ("orders", "inventory", "payment", "shipping", "notification", "orchestrator", "customer")


@pytest.fixture
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OwnShop]:
    """A shop of its own: its processes will die."""
    async with shop_.opened(shop_.planned(tmp_path_factory.mktemp("faults"))) as shop:
        yield shop


@pytest.mark.parametrize(
    ("number", "victims"),
    [(signal.SIGKILL, FOUNDATIONS + SERVICES), (signal.SIGTERM, SERVICES)],
    ids=["killed", "drained"],
)
async def test_every_process_is_ended_in_turn_and_nothing_is_lost_or_done_twice(
    shop: OwnShop, number: signal.Signals, victims: tuple[str, ...]
) -> None:
    sku = await shop.stocked(STOCK)
    before = await shop.books()
    modes = (MODE_CHOREOGRAPHED, MODE_ORCHESTRATED)
    customers = Customers(shop, Load(sku, modes, STOCK, sku, declined_every=5, out_of_stock_every=5), CUSTOMERS)
    ordering = asyncio.ensure_future(customers.run())
    await customers.grown(20)
    for victim in victims:
        await shop.end(victim, number)
        await customers.grown(20)
    customers.stop()
    await ordering

    completed = [order for order in customers.orders if order.state == ORDER_STATE_COMPLETED]
    assert await shop.available(sku) == STOCK - len(completed)
    assert {state_of(order) for order in customers.orders} <= {
        ("COMPLETED", "UNSPECIFIED"),
        ("CANCELLED", "PAYMENT_DECLINED"),
        ("CANCELLED", "OUT_OF_STOCK"),
        ("CANCELLED", "TIMED_OUT"),
    }
    unbalanced = [line for line in await settled(before, shop.books) if not line.balances]
    assert unbalanced == []
