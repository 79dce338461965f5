"""Facts on the wire: CloudEvents 1.0 in binary mode over NATS headers, with a protobuf payload.

https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from urllib.parse import quote, unquote

from google.protobuf.message import DecodeError, Message
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from mesh import contract
from mesh.telemetry import tracing
from mesh.validation import problem_of

tracer = trace.get_tracer("ensemble.mesh")

F = TypeVar("F", bound=Message)

NAMESPACE = uuid.UUID("6f0d1f3e-6a3c-5f0e-9b57-3d5f1f0c7a11")
"""Of event ids (RFC 9562 version 5)."""

PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""What stands in a header as it is. The rest is percent-encoded."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What no attribute may hold."""


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
    announced_at: datetime
    span: trace.Span
    """Of its creation; to be ended when that is committed."""


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
    """Wrap a fact. The same `cause` (request or event id) at the same source makes the same event id.

    Raises ValueError for a cause that is empty or holds control characters, which no request id and no event id does.
    """
    if not cause or CONTROL.search(cause):
        raise ValueError(f"no cause of a fact: {cause!r}")
    kind = contract.fact(fact)
    key: str = getattr(fact, kind.key)
    now = datetime.now(UTC)
    event_id = str(uuid.uuid5(NAMESPACE, f"{source}/{kind.name}/{key}/{cause}"))
    headers = {
        "Nats-Msg-Id": event_id,
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": _encoded(quote(f"/services/{source}")),
        "ce-type": kind.name,
        "ce-subject": _encoded(key),
        "ce-time": now.isoformat().replace("+00:00", "Z"),
        "ce-datacontenttype": "application/protobuf",
        "ce-causationid": _encoded(cause),
    }
    payload = fact.SerializeToString()
    span = tracer.start_span(f"create {kind.subject('*')}", kind=SpanKind.PRODUCER)
    if span.is_recording():
        span.set_attributes(described("create", kind.subject("*"), event_id, key, payload))
        if kind.refusal:
            refusal = getattr(fact, kind.refusal)
            tracing.failed(span, refusal.reason, refusal.message)
    propagate.inject(headers, trace.set_span_in_context(span))
    return Event(kind.name, key, kind.stream, kind.subject(key), headers, payload, now, span)


def described(operation: str, template: str, event_id: str, key: str, payload: bytes) -> dict[str, AttributeValue]:
    """What a span says of a fact, by OpenTelemetry's conventions for messaging."""
    return {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.template": template,
        "messaging.message.id": event_id,
        "messaging.message.conversation_id": key,
        "messaging.message.body.size": len(payload),
    }


def receive(kind: type[F], subject: str, headers: Mapping[str, str], payload: bytes) -> Received[F]:
    """Unwrap a fact. Raises NoEvent, saying what is wrong.

    Of the fact's own rules only those of its key are checked: a newer one may hold what we do not know yet.
    """
    headers, expected = {name.lower(): value for name, value in headers.items()}, contract.fact(kind)
    event_id, event_type = _attribute(headers, "id"), _attribute(headers, "type")
    if "nats-sequence" in headers:  # whoever may read a stream can have the answer sent to any subject
        raise NoEvent("an answer of the broker's, not what somebody has announced")
    if not event_id:
        raise NoEvent("no ce-id header: not a CloudEvent in binary mode")
    if event_type != expected.name:
        raise NoEvent(f"ce-type is {event_type}, the subject is for {expected.name}")
    try:
        fact = kind.FromString(payload)
    except DecodeError as error:
        raise NoEvent(f"payload is not a {expected.name}: {error}") from error
    key = getattr(fact, expected.key)
    if expected.subject(key) != subject:
        raise NoEvent(f"{expected.key} is not the subject's")
    if (problem := problem_of(fact, expected.key)) is not None:
        raise NoEvent(f"{expected.key} {problem}")
    return Received(fact, event_id, _time(headers))


def event_id(headers: Mapping[str, str]) -> str | None:
    """The id of an event, the same each time that it is sent. None of what has none that can be read."""
    try:
        return _attribute({name.lower(): value for name, value in headers.items()}, "id")
    except NoEvent:
        return None


def _encoded(value: str) -> str:
    return quote(value, safe=PLAIN)


def _attribute(headers: Mapping[str, str], name: str) -> str | None:
    """The value of an attribute. Raises NoEvent."""
    encoded = headers.get(f"ce-{name}")
    if encoded is None:
        return None
    if len(encoded) > 1 and encoded[0] == encoded[-1] == '"':  # as older versions of the specification had it
        encoded = re.sub(r"\\(.)", r"\1", encoded[1:-1])
    try:
        value = unquote(encoded, errors="strict")
    except UnicodeDecodeError as error:
        raise NoEvent(f"ce-{name} is not UTF-8: {encoded!r}") from error
    if CONTROL.search(value):
        raise NoEvent(f"ce-{name} holds control characters: {encoded!r}")
    return value


def _time(headers: Mapping[str, str]) -> datetime:
    try:
        at = datetime.fromisoformat((_attribute(headers, "time") or "").upper())
    except ValueError as error:
        raise NoEvent("ce-time is no timestamp") from error
    if at.tzinfo is None:
        raise NoEvent("ce-time has no time zone")
    return at
