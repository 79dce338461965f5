from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest

from tests.conformance.stores import InMemory, InPostgres, Stores
from tests.foundations import Foundations


@pytest.fixture(params=["memory", "postgres"])
async def stores(request: pytest.FixtureRequest, foundations: Foundations) -> AsyncGenerator[Stores]:
    async with AsyncExitStack() as stack:
        yield InMemory() if request.param == "memory" else InPostgres(await foundations.database(), stack)
