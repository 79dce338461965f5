"""A service: its two doors over one database. Every service starts through here and has the same shape."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any, TypeVar

from google.protobuf.descriptor import ServiceDescriptor
from pydantic import Field, SecretStr

from mesh import process
from mesh.bus import Bus
from mesh.consumer import Reaction, consuming
from mesh.database import Database
from mesh.health import Health
from mesh.outbox import relayed
from mesh.retention import forget
from mesh.rpc.server import serving
from mesh.settings import Settings
from mesh.sweeper import swept

FORGET_SECONDS = 3600.0
CONNECT_SECONDS = 1.0
"""How long the RPC door waits for the broker before it opens without it."""


class ServiceSettings(Settings):
    """What every service is told."""

    listen: str
    """host:port of the RPC door."""
    database_url: SecretStr
    nats_url: SecretStr
    peers: dict[str, str] = Field(default_factory=dict)
    """gRPC targets of the services it calls, by proto package."""


S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True)
class Doors:
    """How a service is reached: by calls, and by facts."""

    service: ServiceDescriptor
    servicer: Any
    reactions: tuple[Reaction[Any], ...] = ()


def run(name: str, settings_class: type[S], build: Callable[[S, Database, AsyncExitStack], Awaitable[Doors]]) -> None:
    """Run the service `name`, from the package `services.<name>`, until it is told to stop.

    `build` makes the doors; what it needs besides the database, it enters into the stack.
    """
    schema = resources.files(f"services.{name}").joinpath("schema.sql").read_text()

    async def start(settings: S, stack: AsyncExitStack) -> None:
        url = settings.database_url.get_secret_value()
        database = await stack.enter_async_context(Database.open(url, name, schema))
        bus = await stack.enter_async_context(Bus.open(settings.nats_url.get_secret_value(), name))
        doors = await build(settings, database, stack)
        await stack.enter_async_context(swept(FORGET_SECONDS, partial(forget, database)))
        await stack.enter_async_context(relayed(database, bus))
        await stack.enter_async_context(consuming(name, doors.reactions, database, bus))

        async def events() -> bool:
            return await database.answers() and await bus.answers()

        with suppress(TimeoutError):  # where the broker is there, the event door is open from the first look on
            await asyncio.wait_for(bus.connected.wait(), CONNECT_SECONDS)
        health = Health(rpc=database.answers, events=events)
        servicers = [(doors.service, doors.servicer)]
        await stack.enter_async_context(serving(settings.listen, servicers, health, settings.drain_seconds))

    process.run(name, settings_class, start)
