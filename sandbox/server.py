"""The HTTP server in front of the gateway, the carrier and the books."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

from sandbox import books, carrier, gateway
from sandbox.door import LEDGER, MAX_BODY_BYTES, answered, logged, traced
from sandbox.ledger import Ledger


@asynccontextmanager
async def served(ledger: Ledger, listener: socket.socket, drain_seconds: float) -> AsyncGenerator[None]:
    """Answer HTTP on `listener`; on exit stop listening, then let requests in flight finish."""
    app = web.Application(middlewares=[traced, logged, answered], client_max_size=MAX_BODY_BYTES)
    app[LEDGER] = ledger
    for part in (gateway, carrier, books):
        app.add_routes(part.routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=drain_seconds)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()
