"""What PostgreSQL refuses is told without what was in it."""

import traceback

import asyncpg
import pytest

from mesh.postgres.database import Database, Overtaken
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

SCHEMA = "CREATE TABLE guest (name text PRIMARY KEY, age int CHECK (age > 0));"


NOBODY, TWICE = "INSERT INTO guest VALUES ($1, 0)", "INSERT INTO guest VALUES ($1, 1), ($1, 2)"


@pytest.mark.parametrize(("statement", "error"), [(NOBODY, asyncpg.CheckViolationError), (TWICE, Overtaken)])
async def test_an_error_does_not_quote_the_row(
    foundations: Foundations, statement: str, error: type[Exception]
) -> None:
    async with Database.open(await foundations.database(), "test", SCHEMA) as database:
        with pytest.raises(error) as caught:
            async with database.transaction() as connection:
                await connection.execute(statement, "Grace Hopper")

    told = "".join(traceback.format_exception(caught.value))
    assert "constraint" in told
    assert "DETAIL" not in told
