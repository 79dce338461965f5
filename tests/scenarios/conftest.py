"""One running shop for all scenarios, and the two modes."""

from collections.abc import AsyncGenerator

import pytest
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED, Mode

from tests import shop as shop_
from tests.shop import Shop
from tests.spans import Collector, collecting, reported_to


@pytest.fixture(scope="session")
async def collector() -> AsyncGenerator[Collector]:
    """An OTLP endpoint that keeps every span."""
    async with collecting() as collector:
        yield collector


@pytest.fixture(scope="session")
async def shop(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> AsyncGenerator[Shop]:
    """Everything, running, and traced."""
    async with shop_.opened(shop_.planned(tmp_path_factory.mktemp("shop"), reported_to(collector))) as shop:
        yield shop


@pytest.fixture(params=[MODE_ORCHESTRATED, MODE_CHOREOGRAPHED], ids=["orchestrated", "choreographed"])
def mode(request: pytest.FixtureRequest) -> Mode.ValueType:
    """Each scenario is played both ways."""
    return request.param
