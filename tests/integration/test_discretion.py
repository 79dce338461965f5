"""What went wrong with somebody else is told without what they were told."""

import traceback

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mesh.errors import Outage
from mesh.http import HttpPeer
from mesh.postgres.database import Database, Overtaken
from mesh.telemetry import tracing
from tests.foundations import Foundations
from tests.tables import tables

pytestmark = pytest.mark.integration

TABLES = tables("CREATE TABLE guest (name text PRIMARY KEY, age int CHECK (age > 0));")


NOBODY, TWICE = "INSERT INTO guest VALUES ($1, 0)", "INSERT INTO guest VALUES ($1, 1), ($1, 2)"


@pytest.mark.parametrize(("statement", "error"), [(NOBODY, asyncpg.CheckViolationError), (TWICE, Overtaken)])
async def test_an_error_does_not_quote_the_row(
    foundations: Foundations, statement: str, error: type[Exception]
) -> None:
    async with Database.open(await foundations.database(), "test", TABLES) as database:
        with pytest.raises(error) as caught:
            async with database.transaction() as connection:
                await connection.execute(statement, "Grace Hopper")

    told = "".join(traceback.format_exception(caught.value))
    assert "constraint" in told
    assert "DETAIL" not in told


async def test_an_outage_does_not_quote_the_headers_of_the_request() -> None:
    async def confused(_request: web.Request) -> web.Response:
        return web.Response(text="no JSON")

    app = web.Application()
    app.router.add_get("/", confused)
    async with TestServer(app) as server, HttpPeer.open("peer", str(server.make_url("/"))) as peer:
        with tracing.story(order__id="told-in-a-header"), pytest.raises(Outage, match="ContentTypeError") as caught:
            await peer.ask("GET", "/", {})

    assert "told-in-a-header" not in "".join(traceback.format_exception(caught.value))
