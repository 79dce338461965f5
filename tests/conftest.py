"""What tests share. Processes are real and started once a session."""

from collections.abc import AsyncGenerator

import pytest

from tests import foundations as foundations_
from tests.foundations import Foundations


@pytest.fixture(scope="session")
async def foundations(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Foundations]:
    """PostgreSQL, NATS and the outside world."""
    async with foundations_.running(tmp_path_factory.mktemp("foundations")) as running:
        yield running
