"""`python -m sandbox`: the gateway, the carrier and the mail sink, in one process."""

import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import Field

from mesh import process
from mesh.settings import Settings
from sandbox import ledger, mail, server

log: structlog.stdlib.BoundLogger = structlog.get_logger("sandbox")

HostPort = Annotated[str, Field(pattern=r"^.+:\d{1,5}$")]
"""For example `127.0.0.1:50060`; port 0 is any free port."""


class SandboxSettings(Settings):
    http_listen: HostPort
    smtp_listen: HostPort
    ledger_path: Path


async def start(settings: SandboxSettings, stack: AsyncExitStack) -> None:
    book = stack.enter_context(ledger.opened(settings.ledger_path))
    for part, listen in ((mail, settings.smtp_listen), (server, settings.http_listen)):
        listener = _listener(listen)
        log.info("listening", part=part.__name__, address=listener.getsockname())
        await stack.enter_async_context(part.served(book, listener, settings.drain_seconds))


def _listener(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    return socket.create_server((host, int(port)))


if __name__ == "__main__":
    process.run("sandbox", SandboxSettings, start)
