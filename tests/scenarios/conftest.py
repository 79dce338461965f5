"""One running shop for all scenarios, and the two modes."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED, Mode

from cli.books import settled
from tests import shop as shop_
from tests.shop import Shop
from tests.spans import Collector, collecting, reported_to


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A given shop is a stranger's: it is a customer's whole view, and nothing of it is broken."""
    if item.config.getoption("shop") and item.get_closest_marker("own_shop"):
        pytest.skip("kills, freezes or listens to its shop, and so needs one of its own: run it without --shop")


@pytest.fixture(scope="session")
async def collector() -> AsyncGenerator[Collector]:
    """An OTLP endpoint that keeps every span."""
    async with collecting() as collector:
        yield collector


@pytest.fixture(scope="session")
async def shop(
    given: Path | None, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> AsyncGenerator[Shop]:
    """Everything, running, and traced if it is our own; its books balance when all scenarios have been played."""
    plan = shop_.planned(tmp_path_factory.mktemp("shop"), reported_to(collector))
    async with shop_.given_or_opened(given, plan) as shop:
        before = await shop.books()
        yield shop
        unbalanced = [line for line in await settled(before, shop.books) if not line.balances]
        assert [line for line in unbalanced if "taken from stock" not in line.what] == []  # scenarios also fill it


@pytest.fixture(params=[MODE_ORCHESTRATED, MODE_CHOREOGRAPHED], ids=["orchestrated", "choreographed"])
def mode(request: pytest.FixtureRequest) -> Mode.ValueType:
    """Each scenario is played both ways."""
    return request.param
