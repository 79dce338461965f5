"""Consumers: each reaction is a durable of its own, so that `nats consumer ls` reads as the choreography.

A fact is acknowledged after the commit that handled it. An outage is tried again with a growing delay, without end;
what can never be handled goes to the dead letters with its reason.
"""

import asyncio
import contextvars
import json
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import nats.errors
import structlog
from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, StatusCode

from mesh import contract, telemetry
from mesh.background import ended
from mesh.bus import DEAD_LETTERS, Bus, Stream
from mesh.database import Database, Once
from mesh.errors import Outage, Refusal
from mesh.validation import violations

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.consumer")
tracer = trace.get_tracer("ensemble.mesh")

F = TypeVar("F", bound=Message)

ACK_WAIT = 5.0
"""Seconds after which a fact whose handler has crashed, or is slow, is delivered again: handled once all the same."""
DELAY_MAX = 10.0
"""Seconds between two tries at the most."""
TRIES_MAX = 10
"""Tries of a fact whose handler fails in an unforeseen way; then it is a dead letter. Outages do not count."""
IN_FLIGHT = 64
"""Facts of one durable that a process handles at a time."""
PULL_EXPIRES = 10.0
HEARTBEAT = 1.0
GIVE_BACK = 0.4
"""Seconds that giving back what was not begun may take; less than `mesh.background.AGAIN`."""


@dataclass(frozen=True)
class Reaction(Generic[F]):
    """What a service does when it learns of a fact. `react` calls `once` with what it writes."""

    fact: type[F]
    react: Callable[[F, Once], Awaitable[None]]


class Poison(Exception):
    """A message that can never be handled."""


@asynccontextmanager
async def consuming(
    service: str, reactions: Iterable[Reaction[Any]], database: Database, bus: Bus
) -> AsyncGenerator[None]:
    """React while open. Leaving lets the reactions in progress finish."""
    consumers = [Consumer(service, reaction, database, bus) for reaction in reactions]
    running = [asyncio.ensure_future(consumer.run()) for consumer in consumers]
    try:
        yield
    finally:
        await asyncio.gather(*(ended(task) for task in running), return_exceptions=True)
        await asyncio.gather(*(consumer.settled() for consumer in consumers))


class Consumer:
    """One durable: pulls facts, as many as it has room for, and reacts to them."""

    def __init__(self, service: str, reaction: Reaction[Any], database: Database, bus: Bus) -> None:
        self._fact = contract.fact(reaction.fact)
        self._reaction = reaction
        self._database = database
        self._bus = bus
        self.durable = f"{service}_{self._fact.name.rpartition('.')[2]}"
        self._in_flight: set[asyncio.Task[None]] = set()
        self._finished = asyncio.Event()

    async def run(self) -> None:
        await self._bus.connected.wait()
        while True:
            try:
                await self._declare()
                await self._pull_for_ever()
            except (Outage, nats.errors.Error) as error:
                log.warning("consumer_waits", durable=self.durable, error=repr(error))
                await asyncio.sleep(0.5)
            except Exception:  # whatever it is: nobody else would react
                log.exception("consumer_failed", durable=self.durable)
                await asyncio.sleep(0.5)

    async def settled(self) -> None:
        """Returns once the reactions in progress are finished."""
        if self._in_flight:
            await asyncio.wait(self._in_flight)

    async def _declare(self) -> None:
        await self._bus.ensure(Stream(self._fact.stream, (self._fact.stream_subjects,)))
        await self._bus.ensure(Stream(DEAD_LETTERS, ("dead.>",), max_age=30 * 24 * 3600))
        await self._bus.consume(
            self._fact.stream,
            ConsumerConfig(
                durable_name=self.durable,
                filter_subject=self._fact.subject("*"),
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT,
                max_deliver=-1,
                max_ack_pending=1000,
            ),
        )

    async def _pull_for_ever(self) -> None:
        """Keep one pull request open whenever there is room.

        nats-py's `fetch` waits for a whole batch or its timeout, and stalls after a reconnect; a request with
        heartbeats does neither.
        """
        inbox = self._bus.client.new_inbox()
        subscription = await self._bus.client.subscribe(inbox)
        try:
            while True:
                await self._room()
                wanted = IN_FLIGHT - len(self._in_flight)
                await self._request(wanted, inbox)
                await self._receive(subscription, wanted)
        finally:
            await self._give_back(subscription)

    async def _give_back(self, subscription: Subscription) -> None:
        """Take no more. What has arrived, or is on its way here, is for somebody else: now, not after ACK_WAIT."""
        draining = asyncio.ensure_future(subscription.drain())
        with suppress(nats.errors.Error, TimeoutError):
            async with asyncio.timeout(GIVE_BACK):
                while not draining.done():
                    with suppress(nats.errors.TimeoutError):
                        message = await subscription.next_msg(timeout=0.02)
                        if message.subject != subscription.subject:
                            await message.nak()
        with suppress(nats.errors.Error):
            await ended(draining)

    async def _room(self) -> None:
        while len(self._in_flight) > IN_FLIGHT // 2:
            self._finished.clear()
            await self._finished.wait()

    async def _request(self, batch: int, inbox: str) -> None:
        nanoseconds = 1_000_000_000
        pull = {
            "batch": batch,
            "expires": int(PULL_EXPIRES * nanoseconds),
            "idle_heartbeat": int(HEARTBEAT * nanoseconds),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._fact.stream}.{self.durable}"
        await self._bus.client.publish(subject, json.dumps(pull).encode(), reply=inbox)

    async def _receive(self, subscription: Subscription, wanted: int) -> None:
        """Start a task per message until the request is used up, ended by the server, or silent."""
        while wanted:
            try:
                message = await subscription.next_msg(timeout=2 * HEARTBEAT + 0.5)
            except (nats.errors.TimeoutError, TimeoutError):
                return
            # What the server says of the request itself comes to the inbox; a fact keeps its own subject.
            status = (message.headers or {}).get("Status") if message.subject == subscription.subject else None
            if status == "100":
                continue
            if status is not None:
                return
            wanted -= 1
            # A context of its own: the trace of one fact must not leak into the next.
            task = asyncio.get_running_loop().create_task(self._handle(message), context=contextvars.Context())
            self._in_flight.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._finished.set()

    async def _handle(self, message: Msg) -> None:
        started = time.perf_counter()
        outcome, error = await self._outcome(message)
        await self._settle(message, outcome, error)
        log.log(
            30 if error else 20,
            "fact",
            durable=self.durable,
            subject=message.subject,
            deliveries=message.metadata.num_delivered,
            outcome=outcome,
            error=repr(error) if error else None,
            duration_ms=round((time.perf_counter() - started) * 1000, 2),
        )

    async def _outcome(self, message: Msg) -> tuple[str, Exception | None]:
        headers = dict(message.headers or {})
        parent = telemetry.extract({key.lower(): value for key, value in headers.items()})
        otel.attach(parent)
        origin = trace.get_current_span(parent).get_span_context()
        with tracer.start_as_current_span(
            f"process {self._fact.subject('*')}",
            kind=SpanKind.CONSUMER,
            links=[Link(origin)] if origin.is_valid else [],
        ) as span:
            self._describe(span, message, headers)
            try:
                await self._react(message, headers)
            except (Poison, Refusal) as no:  # a refusal that the reaction has no fact for stays one
                span.set_status(StatusCode.ERROR, str(no))
                return "dead", no
            except Outage as outage:
                span.set_status(StatusCode.ERROR, str(outage))
                return "later", outage
            except Exception as error:  # noqa: BLE001 - a bug must not stop the consumer; it ends as a dead letter
                span.record_exception(error)
                span.set_status(StatusCode.ERROR, repr(error))
                return ("dead" if message.metadata.num_delivered >= TRIES_MAX else "later"), error
            return "done", None

    async def _react(self, message: Msg, headers: dict[str, str]) -> None:
        event_id = headers.get("ce-id")
        if not event_id:
            raise Poison("no ce-id header: not a CloudEvent in binary mode")
        if headers.get("ce-type") != self._fact.name:
            raise Poison(f"ce-type is {headers.get('ce-type')}, the subject is for {self._fact.name}")
        try:
            fact = self._reaction.fact.FromString(message.data)
        except DecodeError as error:
            raise Poison(f"payload is not a {self._fact.name}: {error}") from error
        key = getattr(fact, self._fact.key)
        if self._fact.subject(key) != message.subject:
            raise Poison(f"{self._fact.key} is {key!r}, which is not the subject's")
        for violation in violations(fact):
            if violation.field == self._fact.key:  # only the key: a newer fact may hold what we do not know yet
                raise Poison(f"{violation.field} {violation.description}")
        once = self._database.once_per_event(self.durable, event_id, _announced_at(headers))
        await self._reaction.react(fact, once)

    def _describe(self, span: trace.Span, message: Msg, headers: dict[str, str]) -> None:
        if span.is_recording():
            span.set_attribute("messaging.system", "nats")
            span.set_attribute("messaging.operation.name", "process")
            span.set_attribute("messaging.destination.name", message.subject)
            span.set_attribute("messaging.destination.template", self._fact.subject("*"))
            span.set_attribute("messaging.consumer.group.name", self.durable)
            span.set_attribute("messaging.message.id", headers.get("ce-id", ""))

    async def _settle(self, message: Msg, outcome: str, error: Exception | None) -> None:
        """Acknowledge, ask for another delivery, or bury. If this fails, the server delivers again after ACK_WAIT."""
        with suppress(nats.errors.Error, TimeoutError, Outage):
            if outcome == "done":
                await message.ack_sync(timeout=5)
            elif outcome == "later":
                await message.nak(delay=_delay(message.metadata.num_delivered))
            else:
                await self._bury(message, str(error))

    async def _bury(self, message: Msg, reason: str) -> None:
        """Into the dead letters, without what it asked of its first stream; too large a one as a pointer to it."""
        sequence = message.metadata.sequence.stream
        letter = {
            "Nats-Msg-Id": f"dead/{self.durable}/{sequence}",
            "Dead-Reason": reason.encode("ascii", "backslashreplace").decode().replace("\n", " ")[:500],
            "Dead-Stream": self._fact.stream,
            "Dead-Sequence": str(sequence),
            "Dead-Deliveries": str(message.metadata.num_delivered),
        }
        kept = {name: value for name, value in (message.headers or {}).items() if not name.lower().startswith("nats-")}
        payload, headers = message.data, {**kept, **letter}
        if not self._bus.fits(payload, headers):
            payload, headers = b"", letter
        await self._bus.publish(DEAD_LETTERS, f"dead.{self.durable}.{message.subject}", payload, headers)
        await message.term()


def _announced_at(headers: dict[str, str]) -> datetime:
    try:
        at = datetime.fromisoformat(headers["ce-time"])
    except (KeyError, ValueError) as error:
        raise Poison("ce-time is no timestamp") from error
    if at.tzinfo is None:
        raise Poison("ce-time has no time zone")
    return at


def _delay(deliveries: int) -> float:
    """Seconds to the next try: doubled each time, with jitter, so that a recovering peer is not stormed."""
    return min(DELAY_MAX, 0.1 * 2 ** min(deliveries, 10)) * random.uniform(0.5, 1)  # noqa: S311
