"""Spans, as a process would send them."""

from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from collector.store import OVERHEAD_BYTES, Traces


def room_for(spans: int) -> Traces:
    """A store for so many small spans, all of one trace if need be."""
    size = spans * (OVERHEAD_BYTES + 100)
    return Traces(size, size)


def attribute(key: str, **value: Any) -> KeyValue:
    """For example `attribute("n", int_value=1)`."""
    return KeyValue(key=key, value=AnyValue(**value))


def trace_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def span(trace: int, number: int, **more: Any) -> Span:
    """Span `number` of trace number `trace`."""
    return Span(trace_id=trace_id(trace), span_id=number.to_bytes(8, "big"), **more)


def sent(*spans: Span, service: str = "orders") -> ResourceSpans:
    """What a process sends at once."""
    resource = Resource(attributes=[attribute("service.name", string_value=service)])
    return ResourceSpans(resource=resource, scope_spans=[ScopeSpans(spans=spans)])
