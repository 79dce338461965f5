"""What can be asked for: Jaeger's `query.*` parameters, and which traces they find."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from pydantic import TypeAdapter, ValidationError

from collector.store import Trace, service_of

DEFAULT_LIMIT = 20
LIMIT_MAX = 2**31 - 1
"""Jaeger's, too."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STRINGS = TypeAdapter(dict[str, str])


class BadParameter(Exception):
    """A parameter of a request that cannot be understood, is missing, or is unknown."""


@dataclass(frozen=True)
class Query:
    """A trace is found where one of its spans satisfies all of it."""

    since: int
    until: int
    """When the span started, both included: nanoseconds since 1970."""
    service: str = ""
    operation: str = ""
    """The name of the span."""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the span or its process. Numbers and truths are compared as JSON writes them."""
    limit: int = DEFAULT_LIMIT


def parsed(parameters: Mapping[str, str]) -> Query:
    """The query that a request's parameters make. Raises BadParameter."""
    if unknown := parameters.keys() - _PARSERS.keys():
        raise BadParameter(f"unknown parameter {', '.join(sorted(unknown))}: it can be {', '.join(_PARSERS)}")
    if missing := [name for name in (TIME_MIN, TIME_MAX) if name not in parameters]:
        raise BadParameter(f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} required")
    return Query(**{_PARSERS[name][0]: _value(name, text) for name, text in parameters.items()})


def find(traces: Iterable[Trace], query: Query) -> list[Trace]:
    """The first that it finds."""
    return list(islice((trace for trace in traces if _finds(query, trace)), query.limit))


def _finds(query: Query, trace: Trace) -> bool:
    parts = (part for part in trace.parts if query.service in ("", service_of(part)))
    return any(_satisfies(query, part, span) for part in parts for scope in part.scope_spans for span in scope.spans)


def _satisfies(query: Query, part: ResourceSpans, span: Span) -> bool:
    if not query.since <= span.start_time_unix_nano <= query.until or query.operation not in ("", span.name):
        return False
    return all(_has(span.attributes, each) or _has(part.resource.attributes, each) for each in query.attributes.items())


def _has(attributes: Iterable[KeyValue], wanted: tuple[str, str]) -> bool:
    key, text = wanted
    return any(each.key == key and _text(each.value) == text for each in attributes)


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind in ("bool_value", "int_value", "double_value"):
        return json.dumps(getattr(value, kind))
    return value.string_value


def _value(name: str, text: str) -> Any:
    try:
        return _PARSERS[name][1](text)
    except (ValueError, OverflowError) as error:
        raise BadParameter(f"malformed parameter {name}: {error}") from error


def _nanoseconds(text: str) -> int:
    """Of a moment by RFC 3339."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def _attributes(text: str) -> dict[str, str]:
    try:
        return _STRINGS.validate_json(text)
    except ValidationError:
        raise ValueError("not a JSON object of strings") from None


def _limit(text: str) -> int:
    number = int(text)
    if not 1 <= number <= LIMIT_MAX:
        raise ValueError(f"1 to {LIMIT_MAX}")
    return number


TIME_MIN, TIME_MAX = "query.start_time_min", "query.start_time_max"
_PARSERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    TIME_MIN: ("since", _nanoseconds),
    TIME_MAX: ("until", _nanoseconds),
    "query.service_name": ("service", str),
    "query.operation_name": ("operation", str),
    "query.attributes": ("attributes", _attributes),
    "query.num_traces": ("limit", _limit),
}
"""By the name of a parameter: the field of the query, and how it is read."""
