"""A service: its two doors over one database. Every service starts through here and has the same shape."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from google.protobuf.descriptor import ServiceDescriptor
from pydantic import Field, SecretStr

from mesh import contract, process
from mesh.events import durable, lag, republish
from mesh.events.backlog import Backlog
from mesh.events.bus import Bus
from mesh.events.consumer import consuming
from mesh.events.durable import Durable
from mesh.events.outbox import relayed
from mesh.events.reaction import Reaction
from mesh.events.republish import OutboxServicer
from mesh.health import Health
from mesh.postgres.database import Database
from mesh.postgres.migrations.files import Migrations
from mesh.retention import forget
from mesh.rpc.server import serving
from mesh.settings import Settings
from mesh.sweeper import swept
from mesh.telemetry.metrics import gauged

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
    outbox_max: int = Field(100_000, ge=1)
    """Facts that may wait in the outbox while the broker takes none; then nothing more is announced."""


S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True)
class Kit(Generic[S]):
    """What a service makes its doors of."""

    settings: S
    database: Database
    bus: Bus
    stack: AsyncExitStack
    """Entered with what the doors need besides; it is left when the process ends."""


@dataclass(frozen=True)
class Doors:
    """How a service is reached: by calls, and by facts."""

    service: ServiceDescriptor
    servicer: Any
    reactions: tuple[Reaction[Any], ...] = ()
    public: bool = False
    """Whether strangers call."""


def run(name: str, settings_class: type[S], build: Callable[[Kit[S]], Awaitable[Doors]]) -> None:
    """Run the service `name`, from the package `services.<name>`, until it is told to stop.

    `build` makes the doors.
    """
    migrations = Migrations.of(f"services.{name}")

    async def start(settings: S, stack: AsyncExitStack) -> None:
        url = settings.database_url.get_secret_value()
        database = await stack.enter_async_context(Database.open(url, name, migrations))
        bus = await stack.enter_async_context(Bus.open(settings.nats_url.get_secret_value(), name))
        backlog = await stack.enter_async_context(Backlog.measured(database, settings.outbox_max))
        doors = await build(Kit(settings, database, bus, stack))
        await stack.enter_async_context(swept(FORGET_SECONDS, partial(forget, database)))
        await stack.enter_async_context(relayed(database, bus))
        await stack.enter_async_context(consuming(name, doors.reactions, database, bus))
        await stack.enter_async_context(gauged(lag.GAUGES, partial(lag.read, bus, _durables(name, doors.reactions))))

        async def events() -> bool:
            return not backlog.is_full and await database.answers() and await bus.answers()

        with suppress(TimeoutError):  # where the broker is there, the event door is open from the first look on
            await asyncio.wait_for(bus.connected.wait(), CONNECT_SECONDS)
        health = Health(rpc=database.answers, events=events)
        outbox = (republish.SERVICE, OutboxServicer(database, settings.outbox_max))
        servicers = [(doors.service, doors.servicer), outbox]
        await stack.enter_async_context(
            serving(settings.listen, servicers, health, settings.drain_seconds, public=doors.public)
        )

    process.run(name, settings_class, start)


def _durables(name: str, reactions: tuple[Reaction[Any], ...]) -> list[Durable]:
    facts = [contract.fact(reaction.fact) for reaction in reactions]
    return durable.of_service(name, facts) if facts else []
