"""What a stream has kept: facts of the past, read again in the order in which they were stored.

No consumer is made for it. Each page is one question, a batched direct get (ADR-31 of NATS), which any replica of the
stream answers: nothing is left behind on the server, nothing is to be found again after its restart, and the right to
ask is the right to publish to one subject.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import nats.errors
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from mesh.cloudevents import NoEvent, receive
from mesh.errors import Outage
from mesh.events.bus import Bus

PAGE = 1000
PAGE_BYTES = 8 << 20
"""The most that one question is answered with; the server ends a page at whichever comes first."""
PATIENCE = 5.0
"""Seconds that the next record of a page may take."""
POLL = 1.0
"""Seconds after which a follower looks although nothing was announced: it may have missed it."""
BREATH = 0.05
"""Seconds between two looks at the least. What is announced is stored a moment later."""
EVERYTHING = ">"
"""The subject of all that a stream has. Any other with wildcards costs the server a look at each of its subjects."""
END, NONE = "204", "404"
"""The status of what ends a page, and of what says that there is nothing."""


@dataclass(frozen=True)
class Recorded:
    """A message as its stream has it. It should be a fact; `fact` tells."""

    sequence: int
    stored_at: datetime
    """By the clock of the stream."""
    subject: str
    headers: Mapping[str, str]
    payload: bytes

    @property
    def event_id(self) -> str:
        """Of the CloudEvent, the same each time it is sent; empty for what is none."""
        return self.headers.get("ce-id", "")

    @property
    def kind(self) -> str:
        """The full name of the fact's message, by its own account."""
        return self.headers.get("ce-type", "")

    @property
    def source(self) -> str:
        """The service that announced it, by its own account."""
        return unquote(self.headers.get("ce-source", "")).rpartition("/")[2]

    @property
    def cause(self) -> str:
        """The id of the event, or of the request, that led to it."""
        return unquote(self.headers.get("ce-causationid", ""))

    @property
    def key(self) -> str:
        """Whose story it belongs to: the last part of its subject."""
        return self.subject.rpartition(".")[2]

    @property
    def trace_id(self) -> str:
        """In hex; empty if it was not traced."""
        _, _, rest = self.headers.get("traceparent", "").partition("-")
        return rest.partition("-")[0]

    @cached_property
    def announced_at(self) -> datetime:
        """By the clock of who announced it; when it was stored, where it does not say."""
        with suppress(KeyError, ValueError):
            at = datetime.fromisoformat(self.headers["ce-time"])
            return at if at.tzinfo else self.stored_at
        return self.stored_at

    def fact(self) -> Message:
        """The fact itself. Raises NoEvent, saying why it is none, or that its type is not known here."""
        try:
            kind = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(self.kind))
        except KeyError as error:
            raise NoEvent(f"type {self.kind or 'of the message'} is not known here") from error
        try:
            return receive(kind, self.subject, self.headers, self.payload).fact
        except TypeError as error:
            raise NoEvent(str(error)) from error


@dataclass(frozen=True)
class Page:
    """A part of a stream."""

    records: tuple[Recorded, ...]
    is_last: bool
    """Whether this was all there is for now."""


async def page(bus: Bus, stream: str, subject: str, start: int | datetime = 1, size: int = PAGE) -> Page:
    """The first records from `start`, a sequence or a moment, whose subject matches. Raises Outage."""
    try:
        async with _inbox(bus) as inbox:
            await bus.client.publish(
                f"$JS.API.DIRECT.GET.{stream}", _question(subject, start, size), reply=inbox.subject
            )
            return await _answer(inbox, stream)
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise Outage(f"history of {stream}: {error!r}") from error


async def read(bus: Bus, stream: str, subject: str, start: int | datetime = 1) -> AsyncGenerator[Recorded]:
    """All records from `start` up to the present end of the stream. Raises Outage."""
    while True:
        found = await page(bus, stream, subject, start)
        for record in found.records:
            yield record
            start = record.sequence + 1
        if found.is_last:
            return


async def follow(bus: Bus, stream: str, subject: str, start: int | datetime, rings: str) -> AsyncGenerator[Recorded]:
    """All records from `start`, and each that is added, without end. An outage is waited out.

    What is published to `rings` says that it is time to look: the subjects of the stream, or some of them.
    """
    async with _bell(bus, rings) as bell:
        while True:
            bell.clear()  # before looking: what is announced meanwhile is looked for again
            with suppress(Outage):
                async for record in read(bus, stream, subject, start):
                    yield record
                    start = record.sequence + 1
            with suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), POLL)
            await asyncio.sleep(BREATH)


def _question(subject: str, start: int | datetime, size: int) -> bytes:
    begin: dict[str, object] = {"seq": start}
    if isinstance(start, datetime):
        begin = {"start_time": start.astimezone(UTC).isoformat().replace("+00:00", "Z")}
    return json.dumps({**begin, "next_by_subj": subject, "batch": size, "max_bytes": PAGE_BYTES}).encode()


async def _answer(inbox: Subscription, stream: str) -> Page:
    records: list[Recorded] = []
    while True:
        message = await inbox.next_msg(timeout=PATIENCE)
        headers = message.headers or {}
        if "Nats-Sequence" in headers:  # of a record; a status of its own says nothing
            records.append(_recorded(message))
        elif headers.get("Status") == END:
            return Page(tuple(records), headers["Nats-Num-Pending"] == "0")
        elif headers.get("Status") == NONE:
            return Page((), is_last=True)
        else:
            raise Outage(f"history of {stream}: nobody has it: {headers}")


def _recorded(message: Msg) -> Recorded:
    headers = message.headers or {}
    return Recorded(
        sequence=int(headers["Nats-Sequence"]),
        stored_at=datetime.fromisoformat(headers["Nats-Time-Stamp"]),
        subject=headers["Nats-Subject"],
        headers={name: value for name, value in headers.items() if not name.startswith("Nats-")},
        payload=message.data,
    )


@asynccontextmanager
async def _inbox(bus: Bus) -> AsyncGenerator[Subscription]:
    inbox = await bus.client.subscribe(bus.client.new_inbox())
    try:
        yield inbox
    finally:
        with suppress(nats.errors.Error):
            await inbox.unsubscribe()


@asynccontextmanager
async def _bell(bus: Bus, subject: str) -> AsyncGenerator[asyncio.Event]:
    """Set whenever something is published to the subject."""
    bell = asyncio.Event()

    async def ring(_message: Any) -> None:
        bell.set()

    subscription = await bus.client.subscribe(subject, cb=ring)
    try:
        yield bell
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()
