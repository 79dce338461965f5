"""Facts on the wire: CloudEvents 1.0 in binary mode over NATS headers, with a protobuf payload.

https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from urllib.parse import quote

from google.protobuf.message import DecodeError, Message
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from mesh import contract
from mesh.validation import violations

tracer = trace.get_tracer("ensemble.mesh")

F = TypeVar("F", bound=Message)

NAMESPACE = uuid.UUID("6f0d1f3e-6a3c-5f0e-9b57-3d5f1f0c7a11")
"""Of event ids (RFC 9562 version 5)."""


@dataclass(frozen=True)
class Event:
    """A fact ready to be sent."""

    kind: str
    """Full name of its message."""
    key: str
    stream: str
    subject: str
    headers: dict[str, str]
    payload: bytes


@dataclass(frozen=True)
class Received(Generic[F]):
    """A fact that arrived."""

    fact: F
    event_id: str
    announced_at: datetime
    """By the clock of who announced it."""


class NoEvent(Exception):
    """What arrived is no such fact, and never will be."""


def announce(fact: Message, source: str, cause: str) -> Event:
    """Wrap a fact. The same `cause` (request or event id) at the same source makes the same event id."""
    kind = contract.fact(fact)
    key: str = getattr(fact, kind.key)
    event_id = str(uuid.uuid5(NAMESPACE, f"{source}/{kind.name}/{key}/{cause}"))
    headers = {
        "Nats-Msg-Id": event_id,
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": quote(f"/services/{source}"),
        "ce-type": kind.name,
        "ce-subject": quote(key),
        "ce-time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "ce-datacontenttype": "application/protobuf",
        "ce-causationid": quote(cause),
    }
    span = tracer.start_span(f"create {kind.name}", kind=SpanKind.PRODUCER)
    if span.is_recording():
        span.set_attribute("messaging.system", "nats")
        span.set_attribute("messaging.operation.name", "create")
        span.set_attribute("messaging.destination.template", kind.subject("*"))
        span.set_attribute("messaging.message.id", event_id)
    propagate.inject(headers, trace.set_span_in_context(span))
    span.end()
    return Event(kind.name, key, kind.stream, kind.subject(key), headers, fact.SerializeToString())


def receive(kind: type[F], subject: str, headers: Mapping[str, str], payload: bytes) -> Received[F]:
    """Unwrap a fact. Raises NoEvent, saying what is wrong.

    Of the fact's own rules only those of its key are checked: a newer one may hold what we do not know yet.
    """
    event_id, expected = headers.get("ce-id"), contract.fact(kind)
    if not event_id:
        raise NoEvent("no ce-id header: not a CloudEvent in binary mode")
    if headers.get("ce-type") != expected.name:
        raise NoEvent(f"ce-type is {headers.get('ce-type')}, the subject is for {expected.name}")
    try:
        fact = kind.FromString(payload)
    except DecodeError as error:
        raise NoEvent(f"payload is not a {expected.name}: {error}") from error
    key = getattr(fact, expected.key)
    if expected.subject(key) != subject:
        raise NoEvent(f"{expected.key} is {key!r}, which is not the subject's")
    for violation in violations(fact):
        if violation.field == expected.key:
            raise NoEvent(f"{violation.field} {violation.description}")
    return Received(fact, event_id, _time(headers))


def _time(headers: Mapping[str, str]) -> datetime:
    try:
        at = datetime.fromisoformat(headers["ce-time"])
    except (KeyError, ValueError) as error:
        raise NoEvent("ce-time is no timestamp") from error
    if at.tzinfo is None:
        raise NoEvent("ce-time has no time zone")
    return at
