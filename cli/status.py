"""`ensemble events status`: how far each reaction is, and what waits in the outboxes; trouble on top."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import typer
from ensemble.mesh.v1.outbox_service_pb2 import GetOutboxRequest
from ensemble.mesh.v1.outbox_service_pb2_grpc import OutboxServiceStub
from nats.js.api import ConsumerInfo, StreamInfo

from catalogue import model
from cli.broker import Nats, connected_bus
from cli.client import DEFAULT_DATA, Data, Json, Where, connected
from cli.output import console, table
from cli.running import CommandError, run
from cli.stack import StackError
from mesh.events import dead_letters, history
from mesh.events.bus import Bus

LATE = 10.0
"""Seconds that a fact may wait without anybody being told."""


@dataclass(frozen=True)
class Durable:
    """How far one reaction is."""

    durable: str
    stream: str
    waiting: int
    in_flight: int
    """Delivered, and not yet settled."""
    redelivered: int
    """Of those in flight: delivered before."""
    oldest_s: float
    """How long the oldest of those waiting or in flight has been in the stream; 0 if there is none."""
    dead_letters: int

    @property
    def trouble(self) -> tuple[int, float, int]:
        """The more, the higher up."""
        return self.dead_letters, self.oldest_s, self.redelivered


@dataclass(frozen=True)
class Outbox:
    """What a service has announced, and the broker has not taken."""

    outbox: str
    """The service's name."""
    unsent: int = 0
    limit: int = 0
    """With so many unsent it announces nothing more."""
    oldest_s: float = 0
    problem: str = ""
    """Why nothing is known of it."""

    @property
    def trouble(self) -> tuple[bool, float, int]:
        """The more, the higher up."""
        return bool(self.problem), self.oldest_s, self.unsent


def status(data: Data = DEFAULT_DATA, nats: Nats = None, as_json: Json = False) -> None:
    """Show what waits for each reaction, what is dead, and what has not been sent; trouble on top."""
    run(_status(Where(data, nats=nats), as_json))


async def _status(where: Where, as_json: bool) -> None:
    async with connected_bus(where) as bus:
        durables = sorted(await _durables(bus), key=lambda each: each.trouble, reverse=True)
    announcing = [service for service in model.read().services if service.announces]
    asked = await asyncio.gather(*(_outbox(where, each.name, each.package) for each in announcing))
    outboxes = sorted(asked, key=lambda each: each.trouble, reverse=True)
    if as_json:
        for each in (*durables, *outboxes):
            typer.echo(json.dumps(asdict(each)))
        return
    console.print(_table_of_durables(durables))
    console.print()
    console.print(_table_of_outboxes(outboxes))


async def _durables(bus: Bus) -> list[Durable]:
    """Those that there are, and those that are gone, but have left letters."""
    jetstream = bus.client.jetstream(timeout=5)
    dead = await dead_letters.counts(bus)
    consumers = [each for stream in await jetstream.streams_info() for each in await _consumers(bus, stream)]
    found = [await _durable(bus, info, dead.pop(info.name, 0)) for info in consumers]
    return found + [Durable(name, "", 0, 0, 0, 0, count) for name, count in dead.items()]


async def _consumers(bus: Bus, stream: StreamInfo) -> list[ConsumerInfo]:
    """The durable ones; the server tells of 256 at a time."""
    found: list[ConsumerInfo] = []
    jetstream = bus.client.jetstream(timeout=5)
    while page := await jetstream.consumers_info(stream.config.name or "", offset=len(found)):
        found += page
    return [info for info in found if info.config.durable_name]


async def _durable(bus: Bus, info: ConsumerInfo, dead: int) -> Durable:
    waiting, in_flight = info.num_pending or 0, info.num_ack_pending or 0
    oldest = await _oldest(bus, info) if waiting or in_flight else 0
    return Durable(info.name, info.stream_name, waiting, in_flight, info.num_redelivered or 0, oldest, dead)


async def _oldest(bus: Bus, info: ConsumerInfo) -> float:
    """How long ago the first message was stored that is not settled."""
    first = (info.ack_floor.stream_seq if info.ack_floor else 0) + 1
    subjects = info.config.filter_subjects or [info.config.filter_subject or ">"]
    pages = [await history.page(bus, info.stream_name, subject, first, size=1) for subject in subjects]
    return max((_age(record.stored_at) for page in pages for record in page.records), default=0)


async def _outbox(where: Where, name: str, package: str) -> Outbox:
    try:
        async with connected(where, package) as channel:
            answer = await OutboxServiceStub(channel).GetOutbox(GetOutboxRequest())
    except (CommandError, StackError) as error:
        return Outbox(name, problem=str(error))
    oldest = _age(answer.oldest_unsent_at.ToDatetime(UTC)) if answer.HasField("oldest_unsent_at") else 0
    return Outbox(name, answer.unsent, answer.limit, oldest)


def _age(moment: datetime) -> float:
    return max((datetime.now(UTC) - moment).total_seconds(), 0)


def _table_of_durables(durables: Iterable[Durable]) -> object:
    shown = table("durable", "dead>", "oldest>", "waiting>", "in flight>", "redelivered>")
    for each in durables:
        style = "red" if each.dead_letters else "yellow" if each.oldest_s > LATE else ""
        counts = (each.waiting, each.in_flight, each.redelivered)
        shown.add_row(
            each.durable, _count(each.dead_letters), _seconds(each.oldest_s), *map(_count, counts), style=style
        )
    return shown


def _table_of_outboxes(outboxes: Iterable[Outbox]) -> object:
    shown = table("outbox", "unsent>", "limit>", "oldest>", "")
    for each in outboxes:
        style = "red" if each.problem else "yellow" if each.oldest_s > LATE else ""
        counts = ("?", "") if each.problem else (_count(each.unsent), f"{each.limit:,}")
        shown.add_row(each.outbox, *counts, _seconds(each.oldest_s), each.problem, style=style)
    return shown


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds else "-"
