"""Facts on the wire: CloudEvents 1.0 in binary mode over NATS headers, with a protobuf payload.

https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from google.protobuf.message import Message
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from mesh import contract

tracer = trace.get_tracer("ensemble.mesh")

NAMESPACE = uuid.UUID("6f0d1f3e-6a3c-5f0e-9b57-3d5f1f0c7a11")
"""Of event ids (RFC 9562 version 5)."""


@dataclass(frozen=True)
class Event:
    """A fact ready to be sent."""

    key: str
    stream: str
    subject: str
    headers: dict[str, str]
    payload: bytes


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
    return Event(key, kind.stream, kind.subject(key), headers, fact.SerializeToString())
