"""An upgrade while customers order: the release before and ours share the databases, and nobody notices."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED
from shop.orders.v1.order_pb2 import ORDER_STATE_COMPLETED

from cli.books import settled
from cli.load import Load
from cli.stack.layout import SERVICES, Layout
from cli.stack.local import Plan
from cli.stack.ports import free_port_base
from mesh.postgres.migrations.apply import migrate
from mesh.postgres.migrations.due import pending
from mesh.postgres.migrations.files import KIT, Migrations
from tests import release
from tests import shop as shop_
from tests.load import Customers
from tests.release import OURS, Releases
from tests.shop import OwnShop, state_of

pytestmark = [pytest.mark.system, pytest.mark.own_shop, pytest.mark.timeout(300)]

STOCK = 9_000
CUSTOMERS = 8
SOME = 20


@pytest.fixture
async def releases(tmp_path: Path) -> Releases:
    return await release.checked_out(tmp_path)


@pytest.fixture
async def shop(releases: Releases) -> AsyncGenerator[OwnShop]:
    """Two of every service, from the release before."""
    twice = {service.name: 2 for service in SERVICES}
    layout = Layout(free_port_base(span=200), twice)
    async with shop_.opened(Plan(releases.folder / "shop", layout, adjusted=releases.at_first)) as shop:
        yield shop


async def test_old_and_new_code_work_side_by_side_on_the_schema_of_the_new(shop: OwnShop, releases: Releases) -> None:
    sku = await shop.stocked(STOCK)
    before = await shop.books()
    modes = (MODE_CHOREOGRAPHED, MODE_ORCHESTRATED)
    customers = Customers(shop, Load(sku, modes, STOCK, sku, declined_every=5, out_of_stock_every=5), CUSTOMERS)
    ordering = asyncio.ensure_future(customers.run())
    await customers.grown(SOME)
    for replica, deployed in (
        (1, OURS),
        (0, releases.before),  # which is started again, on the schema of the new
        (0, OURS),
    ):
        await asyncio.gather(*(releases.deploy(shop, service.name, replica, deployed) for service in SERVICES))
        await customers.grown(SOME)
    for service in SERVICES:
        await migrate(shop.state.postgres[service.name], (KIT, Migrations.of(service.module)), pending)
    await customers.grown(SOME)
    customers.stop()
    await ordering

    completed = [order for order in customers.orders if order.state == ORDER_STATE_COMPLETED]
    assert await shop.available(sku) == STOCK - len(completed)
    assert {state_of(order) for order in customers.orders} == {
        ("COMPLETED", "UNSPECIFIED"),
        ("CANCELLED", "PAYMENT_DECLINED"),
        ("CANCELLED", "OUT_OF_STOCK"),
    }
    unbalanced = [line for line in await settled(before, shop.books) if not line.balances]
    assert unbalanced == []
