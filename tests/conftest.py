"""What tests share. Processes are real and started once a session."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from cli.stack import state
from tests import foundations as foundations_
from tests.foundations import Foundations


def pytest_addoption(parser: pytest.Parser) -> None:
    says = f"The {state.FILE_NAME} of a running shop, to play the scenarios in, instead of in shops of their own."
    parser.addoption("--shop", metavar="FILE", type=Path, help=says)


@pytest.fixture(scope="session")
def given(pytestconfig: pytest.Config) -> Path | None:
    """The folder of the shop that --shop names."""
    file: Path | None = pytestconfig.getoption("shop")
    return file.parent if file else None


@pytest.fixture(scope="session")
async def foundations(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Foundations]:
    """PostgreSQL, NATS and the outside world."""
    async with foundations_.running(tmp_path_factory.mktemp("foundations")) as running:
        yield running
