"""Consumers: each reaction is a durable of its own, so that `nats consumer ls` reads as the choreography.

A fact is acknowledged after the commit that handled it. An outage is tried again with a growing delay, without end;
what can never be handled goes to the dead letters with its reason.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import nats.errors
import structlog
from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, StatusCode

from mesh import contract, dead_letters, telemetry
from mesh.background import ended
from mesh.bus import Bus, Stream
from mesh.cloudevents import NoEvent, receive
from mesh.database import Database, Once
from mesh.dead_letters import bury
from mesh.errors import Outage, Refusal
from mesh.pull import Pull

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.consumer")
tracer = trace.get_tracer("ensemble.mesh")

F = TypeVar("F", bound=Message)

ACK_WAIT = 5.0
"""Seconds after which a fact whose handler has crashed, or is slow, is delivered again: handled once all the same."""
DELAY_MAX = 10.0
"""Seconds between two tries at the most."""
TRIES_MAX = 10
"""Tries of a fact whose handler fails in an unforeseen way; then it is a dead letter. Outages do not count."""


@dataclass(frozen=True)
class Reaction(Generic[F]):
    """What a service does when it learns of a fact. `react` calls `once` with what it writes."""

    fact: type[F]
    react: Callable[[F, Once], Awaitable[None]]
    leads_to: tuple[type[Message], ...] = ()
    """The facts that it may announce. Any other is a bug, and is not announced."""


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
    """One durable, and the reaction to its facts."""

    def __init__(self, service: str, reaction: Reaction[Any], database: Database, bus: Bus) -> None:
        self._fact = contract.fact(reaction.fact)
        self._reaction = reaction
        self._database = database
        self._bus = bus
        self.durable = f"{service}_{self._fact.name.rpartition('.')[2]}"
        self._pull = Pull(bus, self._fact.stream, self.durable, self._handle)

    async def run(self) -> None:
        """React until cancelled, whatever happens."""
        await self._bus.connected.wait()
        while True:
            try:
                await self._declare()
                await self._pull.for_ever()
            except (Outage, nats.errors.Error) as error:
                log.warning("consumer_waits", durable=self.durable, error=repr(error))
                await asyncio.sleep(0.5)
            except Exception:  # whatever it is: nobody else would react
                log.exception("consumer_failed", durable=self.durable)
                await asyncio.sleep(0.5)

    async def settled(self) -> None:
        """Returns once the reactions in progress are finished."""
        await self._pull.settled()

    async def _declare(self) -> None:
        await self._bus.ensure(Stream(self._fact.stream, (self._fact.stream_subjects,)))
        await self._bus.ensure(dead_letters.STREAM)
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
            except (NoEvent, Refusal) as no:  # a refusal that the reaction has no fact for stays one
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
        received = receive(self._reaction.fact, message.subject, headers, message.data)
        once = self._database.once_per_event(
            self.durable, received.event_id, received.announced_at, self._reaction.leads_to
        )
        await self._reaction.react(received.fact, once)

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
                await bury(self._bus, message, self.durable, str(error))


def _delay(deliveries: int) -> float:
    """Seconds to the next try: doubled each time, with jitter, so that a recovering peer is not stormed."""
    return min(DELAY_MAX, 0.1 * 2 ** min(deliveries, 10)) * random.uniform(0.5, 1)  # noqa: S311
