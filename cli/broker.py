"""The broker, as an operator reaches it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated
from urllib.parse import urlsplit

import nats.errors
import typer

from cli.client import CONNECT_SECONDS, TRY_AGAIN, Where
from cli.running import UNAVAILABLE, CommandError
from mesh.errors import Outage
from mesh.events.bus import Bus

Nats = Annotated[
    str | None,
    typer.Option(
        "--nats",
        metavar="URL",
        envvar="NATS_URL",  # where a password may stand; everybody on the machine sees arguments
        help="NATS and its operator's user, without looking into --data.",
    ),
]


@asynccontextmanager
async def connected_bus(where: Where) -> AsyncGenerator[Bus]:
    """The bus with the operator's rights. Raises CommandError when it is not there or does not answer inside."""
    url = where.nats_url
    async with Bus.open(url, "operator") as bus:
        try:
            await asyncio.wait_for(bus.connected.wait(), CONNECT_SECONDS)
        except TimeoutError:
            message = f"NATS does not answer at {_hosts(url)}, or not to this user; is `ensemble up` running?"
            raise CommandError(message, UNAVAILABLE) from None
        try:
            yield bus
        except (Outage, nats.errors.Error, TimeoutError) as error:
            message = f"NATS at {_hosts(url)}: {str(error) or repr(error)}{TRY_AGAIN}"
            raise CommandError(message, UNAVAILABLE) from error


def _hosts(url: str) -> str:
    """Without the passwords."""
    return ", ".join(urlsplit(each).netloc.rpartition("@")[2] for each in url.split(","))
