"""Spans as OTLP/JSON, which is not what protobuf makes of its messages: ids are in hex, and enums are numbers."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


def resource_spans(part: ResourceSpans) -> dict[str, Any]:
    """One element of `resourceSpans`."""
    made = MessageToDict(part, use_integers_for_enums=True)
    for scope, scope_made in zip(part.scope_spans, made["scopeSpans"], strict=True):
        for span, span_made in zip(scope.spans, scope_made["spans"], strict=True):
            _write_ids(span, span_made)
    return made


def _write_ids(span: Span, made: dict[str, Any]) -> None:
    made["traceId"], made["spanId"] = span.trace_id.hex(), span.span_id.hex()
    if span.parent_span_id:
        made["parentSpanId"] = span.parent_span_id.hex()
    for link, link_made in zip(span.links, made.get("links", ()), strict=True):
        link_made["traceId"], link_made["spanId"] = link.trace_id.hex(), link.span_id.hex()
