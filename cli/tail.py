"""`ensemble events tail`: the facts, as they are announced."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from rich.text import Text

from cli.broker import Nats, connected_bus
from cli.client import DEFAULT_DATA, Data, Json, Where
from cli.evidence import FACTS
from cli.facts import detail
from cli.moment import Since
from cli.output import console
from cli.running import run
from mesh.cloudevents import NoEvent
from mesh.events import history
from mesh.events.history import Recorded
from mesh.validation import UUID

REMEMBERED = 10_000
"""Facts whose names are known when something names them as its cause."""


def tail(
    order_id: Annotated[str | None, typer.Option("--order", metavar="ID", help="Only those about it.")] = None,
    fact: Annotated[str | None, typer.Option("--fact", metavar="NAME", help="Only these: OrderShipped, say.")] = None,
    since: Since = None,
    data: Data = DEFAULT_DATA,
    nats: Nats = None,
    as_json: Json = False,
) -> None:
    """Follow the facts live, a line for each, until Ctrl-C: from now on, or from --since."""
    if order_id is not None and not UUID.fullmatch(order_id):
        raise typer.BadParameter(f"{order_id!r} is not the id of an order: a UUID in its canonical form")
    if fact is not None and not fact.isidentifier():
        raise typer.BadParameter(f"{fact!r} is not the name of a fact, such as OrderShipped")
    show = _print_json_line if as_json else Lines().print
    run(_tail(Where(data, nats=nats), _subject(fact, order_id), since or datetime.now(UTC), show))


def _subject(fact: str | None, order_id: str | None) -> str:
    beginning, _, key = FACTS.story(order_id or "*").rsplit(".", 2)
    return f"{beginning}.{fact or '*'}.{key}"


async def _tail(where: Where, facts: str, since: datetime, show: Callable[[Recorded], None]) -> None:
    subject = history.EVERYTHING if facts == FACTS.stream_subjects else facts
    with suppress(asyncio.CancelledError):  # Ctrl-C is how it ends
        async with connected_bus(where) as bus:
            async for record in history.follow(bus, FACTS.stream, subject, since, rings=facts):
                show(record)


class Lines:
    """For people: time, who, what and about which order; why, and the trace."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, str] = OrderedDict()

    def print(self, record: Recorded) -> None:
        event = record.subject.split(".")[-2]
        cause = self._names.get(record.cause, record.cause)
        self._remember(record.event_id, event)
        try:
            said = Text(detail(record.fact()))
        except NoEvent as problem:
            said = Text(str(problem), style="red")
        at = record.announced_at.astimezone().strftime("%H:%M:%S.%f")[:-3]
        start = f"{at}  {record.source or '?':<12}  {event:<27}  {record.key}  "
        trace = f"  trace {record.trace_id}" if record.trace_id else ""
        console.print(Text(start) + said + Text(f"  <- {cause or 'nothing'}{trace}", style="dim"), soft_wrap=True)

    def _remember(self, event_id: str, event: str) -> None:
        self._names[event_id] = event
        if len(self._names) > REMEMBERED:
            self._names.popitem(last=False)


def _print_json_line(record: Recorded) -> None:
    """For programs: what the stream has, with the payload decoded where that is possible."""
    known: dict[str, Any] = {
        "sequence": record.sequence,
        "stored_at": record.stored_at.isoformat(),
        "announced_at": record.announced_at.isoformat(),
        "subject": record.subject,
        "event_id": record.event_id,
        "type": record.kind,
        "source": record.source,
        "key": record.key,
        "cause": record.cause,
        "trace_id": record.trace_id,
    }
    try:
        known["fact"] = MessageToDict(record.fact(), preserving_proto_field_name=True)
    except NoEvent as problem:
        known["problem"] = str(problem)
    typer.echo(json.dumps(known))
