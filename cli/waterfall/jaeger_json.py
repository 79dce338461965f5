"""Traces as the JSON that Jaeger's UI loads from a file (its "JSON File" tab)."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cli.waterfall.span import Kind, Span

SAFE = 2**53 - 1
"""JavaScript knows no greater integer; Jaeger writes those as strings."""


def exported(spans: Iterable[Span]) -> dict[str, Any]:
    """The content of the file: a trace for each id, in the order in which they come."""
    traces = defaultdict[str, list[Span]](list)
    for span in spans:
        traces[span.trace_id].append(span)
    return {"data": [_trace(trace_id, each) for trace_id, each in traces.items()]}


def _trace(trace_id: str, spans: Sequence[Span]) -> dict[str, Any]:
    resources = list({_key(span.resource): span.resource for span in spans}.values())
    processes = {_key(resource): f"p{number}" for number, resource in enumerate(resources, 1)}
    return {
        "traceID": trace_id,
        "spans": [_span(span, processes[_key(span.resource)]) for span in spans],
        "processes": {processes[_key(resource)]: _process(resource) for resource in resources},
        "warnings": None,
    }


def _key(resource: Mapping[str, Any]) -> str:
    return str(sorted(resource.items()))


def _process(resource: Mapping[str, Any]) -> dict[str, Any]:
    others = {key: value for key, value in resource.items() if key != "service.name"}
    return {"serviceName": str(resource.get("service.name", "?")), "tags": _tags(others)}


def _span(span: Span, process: str) -> dict[str, Any]:
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": _references(span),
        "startTime": span.start // 1000,
        "duration": (span.end - span.start) // 1000,
        "tags": _tags({**span.attributes, **_said(span)}),
        "logs": [
            {"timestamp": event.at // 1000, "fields": _tags({"event": event.name, **event.attributes})}
            for event in span.events
        ],
        "processID": process,
        "warnings": None,
    }


def _references(span: Span) -> list[dict[str, str]]:
    """The parent first, which the UI draws the tree by; a link to it would only say the same."""
    parents = [("CHILD_OF", span.trace_id, span.parent_id)] if span.parent_id else []
    links = [("FOLLOWS_FROM", link.trace_id, link.span_id) for link in span.links if link.span_id != span.parent_id]
    return [{"refType": kind, "traceID": trace_id, "spanID": span_id} for kind, trace_id, span_id in (*parents, *links)]


def _said(span: Span) -> dict[str, Any]:
    """What OTLP has fields for, and Jaeger tags."""
    said: dict[str, Any] = {}
    if span.kind is not Kind.UNSPECIFIED:
        said["span.kind"] = span.kind.name.lower()
    if span.scope:
        said["otel.scope.name"] = span.scope
    if span.failed:
        said |= {"error": True, "otel.status_code": "ERROR"}
    if span.message:
        said["otel.status_description"] = span.message
    return said


def _tags(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, **_value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"type": "bool", "value": value}
        case int():
            return {"type": "int64", "value": value if abs(value) <= SAFE else str(value)}
        case float():
            return {"type": "float64", "value": value}
        case str():
            return {"type": "string", "value": value}
        case _:
            return {"type": "string", "value": json.dumps(value, separators=(",", ":"))}
