"""The spans of a trace, as OTLP/JSON has them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Kind(IntEnum):
    """OTLP's numbers."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


ERROR = 2
"""OTLP's number of the status."""

OF_JAEGER = "@jaeger@"
"""Begins the names of attributes that Jaeger itself adds, to warn of other machines' clocks."""


@dataclass(frozen=True)
class Event:
    """Something that happened while a span was open."""

    at: int
    """Nanoseconds since the epoch."""
    name: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Link:
    """To another span."""

    trace_id: str
    span_id: str


@dataclass(frozen=True)
class Span:
    """One piece of work."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty: it began the trace."""
    name: str
    kind: Kind
    start: int
    """Nanoseconds since the epoch."""
    end: int
    resource: Mapping[str, Any]
    scope: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    failed: bool = False
    message: str = ""
    """Why it failed."""

    @property
    def service(self) -> str:
        return str(self.resource.get("service.name", "?"))


def spans_of(document: Mapping[str, Any]) -> list[Span]:
    """All spans of OTLP/JSON's `resourceSpans`. Raises KeyError, TypeError or ValueError for what is none."""
    return [
        _span(span, _attributes(resource.get("resource", {})), scope.get("scope", {}).get("name", ""))
        for resource in document.get("resourceSpans", ())
        for scope in resource.get("scopeSpans", ())
        for span in scope.get("spans", ())
    ]


def _span(span: Mapping[str, Any], resource: Mapping[str, Any], scope: str) -> Span:
    status = span.get("status", {})
    return Span(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId", ""),
        name=span["name"],
        kind=Kind(span.get("kind", 0)),
        start=int(span["startTimeUnixNano"]),
        end=int(span["endTimeUnixNano"]),
        resource=resource,
        scope=scope,
        attributes=_attributes(span),
        events=tuple(
            Event(int(event.get("timeUnixNano", 0)), event["name"], _attributes(event))
            for event in span.get("events", ())
        ),
        links=tuple(Link(link["traceId"], link["spanId"]) for link in span.get("links", ())),
        failed=status.get("code", 0) == ERROR,
        message=status.get("message", ""),
    )


def _attributes(holder: Mapping[str, Any]) -> dict[str, Any]:
    pairs = _pairs(holder.get("attributes", ()))
    return {key: value for key, value in pairs if not key.startswith(OF_JAEGER)}


def _pairs(attributes: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for attribute in attributes:
        yield attribute["key"], _value(attribute.get("value", {}))


def _value(value: Mapping[str, Any]) -> Any:
    """JSON has no 64-bit integers: OTLP writes them as strings."""
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "arrayValue":
            return [_value(each) for each in content.get("values", ())]
        if kind == "kvlistValue":
            return dict(_pairs(content.get("values", ())))
        return content
    return None
