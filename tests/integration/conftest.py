"""What integration tests share besides."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.outside import Outside


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncGenerator[Outside]:
    """An outside world of one's own, up."""
    outside = Outside(tmp_path / "ledger.db")
    await outside.begin()
    yield outside
    await outside.end()
