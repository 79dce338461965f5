"""`ensemble events setup`: the streams, on brokers that `ensemble up` did not start."""

from enum import Enum
from typing import Annotated

import typer

from cli.broker import Nats
from cli.client import DEFAULT_DATA, Data, Where
from cli.output import console
from cli.running import UNAVAILABLE, CommandError, run
from cli.stack import streams
from mesh.errors import Outage


class Replicas(Enum):
    """How many servers keep each message."""

    ONE = "1"
    THREE = "3"


def setup(
    replicas: Annotated[Replicas, typer.Option(help="How many servers keep each message.")] = Replicas.ONE,
    data: Data = DEFAULT_DATA,
    nats: Nats = None,
) -> None:
    """Make the streams, or bring them up to date. Services may not: nothing is announced before this was done."""
    run(_setup(Where(data, nats=nats), int(replicas.value)))


async def _setup(where: Where, replicas: int) -> None:
    try:
        await streams.provision(where.nats_url, replicas)
    except Outage as outage:
        raise CommandError(str(outage), UNAVAILABLE) from outage
    names = ", ".join(stream.name for stream in streams.shop_streams())
    console.print(f"{names}: ready, each message on {replicas} server{'s' if replicas > 1 else ''}")
