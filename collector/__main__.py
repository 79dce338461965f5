"""`python -m collector`: OTLP in, Jaeger's query API out."""

import socket
from contextlib import AsyncExitStack
from typing import Annotated

import structlog
from pydantic import Field

from collector import api, receiver
from collector.store import Traces
from mesh import process
from mesh.settings import Settings

log: structlog.stdlib.BoundLogger = structlog.get_logger("collector")

SHARE = 10
"""One trace may take this part of it all."""
HostPort = Annotated[str, Field(pattern=r"^.+:\d{1,5}$")]
"""For example `127.0.0.1:50066`; port 0 is any free port."""


class CollectorSettings(Settings):
    otlp_listen: HostPort
    query_listen: HostPort
    max_megabytes: int = Field(150, ge=1)
    """Memory that the traces may take; 150 are some 50,000 spans, which are about 1,500 orders."""


async def start(settings: CollectorSettings, stack: AsyncExitStack) -> None:
    size = settings.max_megabytes * 1_000_000
    traces = Traces(size, size // SHARE)
    host, _, port = settings.query_listen.rpartition(":")
    listener = socket.create_server((host, int(port)))
    log.info("listening", part="query", address=listener.getsockname())
    await stack.enter_async_context(api.served(traces, listener, settings.drain_seconds))
    otlp = await stack.enter_async_context(receiver.served(traces, settings.otlp_listen, settings.drain_seconds))
    log.info("listening", part="otlp", address=(host, otlp))


if __name__ == "__main__":
    process.run("collector", CollectorSettings, start)
