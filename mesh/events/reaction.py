"""What a service does when it learns of a fact, and what came of it each time it was told."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

import structlog
from google.protobuf.message import Message
from nats.aio.msg import Msg
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind

from mesh import contract
from mesh.cloudevents import NoEvent, described, receive
from mesh.errors import Outage, Refusal
from mesh.events import again, durable
from mesh.postgres.database import Database, Once, Overtaken
from mesh.telemetry import metrics, tracing

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.events.reaction")
tracer = trace.get_tracer("ensemble.mesh")

F = TypeVar("F", bound=Message)


@dataclass(frozen=True)
class Reaction(Generic[F]):
    """What a service does when it learns of a fact. `react` calls `once` with what it writes."""

    fact: type[F]
    react: Callable[[F, Once], Awaitable[None]]
    leads_to: tuple[type[Message], ...] = ()
    """The facts that it may announce. Any other is a bug, and is not announced."""
    undoes: bool = False
    """Whether it takes something back. A service that was away hears of these first: what is off is not begun."""


class Outcome(StrEnum):
    """Of one delivery."""

    DONE = "done"
    DUPLICATE = "duplicate"
    """It was handled before."""
    LATER = "later"
    """Something that is needed does not answer: to be delivered once more."""
    AGAIN = "again"
    """The same, and it was delivered often: to be sent again."""
    ALONE = "alone"
    """It was delivered often, to no avail: to be handled alone."""
    DEAD = "dead"
    """It can never be handled."""


@dataclass(frozen=True)
class Then:
    """What a delivery comes to that does not succeed."""

    outage: Outcome
    """Where something that is needed does not answer."""
    failure: Outcome
    """Where the handler fails in an unforeseen way."""


@dataclass(frozen=True)
class Result:
    """What came of one delivery."""

    outcome: Outcome
    error: Exception | None = None


class Reactor:
    """A reaction, told of its facts."""

    def __init__(self, service: str, reaction: Reaction[Any], database: Database) -> None:
        self.fact = contract.fact(reaction.fact)
        self.durable = durable.of_fact(service, self.fact)
        self.undoes = reaction.undoes
        self._reaction = reaction
        self._database = database

    async def tell(self, message: Msg, then: Then) -> Result:
        """Have the service react, once per event however often it is told.

        The result says what is to be done with the message now.
        """
        headers = dict(message.headers or {})
        parent = tracing.extract({key.lower(): value for key, value in headers.items()})
        otel.attach(parent)
        origin = trace.get_current_span(parent).get_span_context()
        with tracer.start_as_current_span(
            f"process {self.fact.subject('*')}",
            kind=SpanKind.CONSUMER,
            links=[Link(origin)] if origin.is_valid else [],
        ) as span:
            started = time.perf_counter()
            self._describe(span, message, headers)
            result = await self._result(message, headers, then)
            self._told(span, message, result, time.perf_counter() - started)
            return result

    def _told(self, span: trace.Span, message: Msg, result: Result, seconds: float) -> None:
        """What came of it, in all three signals."""
        span.set_attribute("ensemble.outcome", result.outcome.value)
        if result.error:
            span.record_exception(result.error)
            tracing.failed(span, type(result.error).__name__, str(result.error) or repr(result.error))
        metrics.processed(self.durable.name, self.fact.subject("*"), result.outcome.value, seconds, result.error)
        log.log(
            logging.WARNING if result.error else logging.INFO,
            "fact",
            messaging__consumer__group__name=self.durable.name,
            messaging__destination__name=message.subject,
            ensemble__delivery=again.tries(message),
            ensemble__outcome=result.outcome.value,
            error=repr(result.error) if result.error else None,
            duration_ms=round(seconds * 1000, 2),
        )

    async def _result(self, message: Msg, headers: dict[str, str], then: Then) -> Result:
        try:
            is_new = await self._react(message, headers)
        except (NoEvent, Refusal) as no:  # a refusal that the reaction has no fact for stays one
            return Result(Outcome.DEAD, no)
        except Overtaken as error:  # once, by somebody else; again and again, by a rule that it breaks
            return Result(then.failure, error)
        except Outage as outage:
            return Result(then.outage, outage)
        except Exception as error:  # noqa: BLE001 - a bug must not stop the consumer; it ends as a dead letter
            return Result(then.failure, error)
        return Result(Outcome.DONE if is_new else Outcome.DUPLICATE)

    async def _react(self, message: Msg, headers: dict[str, str]) -> bool:
        subject = again.first_subject(message.subject)
        received = receive(self._reaction.fact, subject, headers, message.data)
        leads_to = self._reaction.leads_to
        once = self._database.once_per_event(
            self.durable.name, received.event_id, received.announced_at, leads_to, about=subject.rpartition(".")[2]
        )
        await self._reaction.react(received.fact, once)
        return not once.was_handled

    def _describe(self, span: trace.Span, message: Msg, headers: dict[str, str]) -> None:
        if span.is_recording():
            key = message.subject.rpartition(".")[2]
            event_id = headers.get("ce-id", "")
            span.set_attributes(described("process", self.fact.subject("*"), event_id, key, message.data))
            span.set_attribute("messaging.destination.name", message.subject)
            span.set_attribute("messaging.consumer.group.name", self.durable.name)
            span.set_attribute("ensemble.delivery", again.tries(message))
            if letter := headers.get(again.REPLAYED):
                span.add_event("replayed", {"ensemble.letter": letter})
