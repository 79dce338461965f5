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

HostPort = Annotated[str, Field(pattern=r"^.+:\d{1,5}$")]
"""For example `127.0.0.1:50066`; port 0 is any free port."""


class CollectorSettings(Settings):
    otlp_listen: HostPort
    query_listen: HostPort
    max_spans: int = Field(50_000, ge=1)
    """So many are kept; 50,000 take some 150 MB, and are about 1,500 orders."""


async def start(settings: CollectorSettings, stack: AsyncExitStack) -> None:
    traces = Traces(settings.max_spans)
    host, _, port = settings.query_listen.rpartition(":")
    listener = socket.create_server((host, int(port)))
    log.info("listening", part="query", address=listener.getsockname())
    await stack.enter_async_context(api.served(traces, listener, settings.drain_seconds))
    otlp = await stack.enter_async_context(receiver.served(traces, settings.otlp_listen, settings.drain_seconds))
    log.info("listening", part="otlp", address=(host, otlp))


if __name__ == "__main__":
    process.run("collector", CollectorSettings, start)
