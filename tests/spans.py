"""An OTLP endpoint that keeps what it is sent."""

import socket
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from cli.stack import traces as stack_traces
from collector import api
from collector.store import Traces
from tests.points import Point, Points

WORDS = ("order.id", "shop.mode", "saga.id")
"""What spans say of the order that they are about: all the first two, and those of a saga the third."""


@dataclass(frozen=True)
class Link:
    """To a span, of the same trace or another."""

    trace_id: str
    span_id: str


@dataclass(frozen=True)
class Event:
    """Something that happened while a span was open."""

    name: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Span:
    """What a test looks at."""

    service: str
    name: str
    kind: str
    """SERVER, CLIENT, PRODUCER, CONSUMER or INTERNAL."""
    trace_id: str
    span_id: str
    parent_id: str
    """Empty: it begins its trace."""
    attributes: dict[str, Any]
    status: str
    """UNSET, OK or ERROR."""
    message: str
    """Of the status."""
    events: tuple[Event, ...]
    links: tuple[Link, ...]
    start: int
    end: int
    """Nanoseconds since 1970."""


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span, and every point of a metric."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.points: list[Point] = []
        self.endpoint = ""
        self.query = ""
        """Where a reader of traces asks for them, as in `ensemble up`."""
        self.kept = Traces(1 << 30, 1 << 30)
        self.others: list[trace_service_pb2_grpc.TraceServiceStub] = []
        """Who is told of every span, too."""

    async def Export(self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any) -> Any:
        self.kept.add(request.resource_spans)
        self.spans += spans_of(request.resource_spans)
        for other in self.others:
            await other.Export(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def of_order(self, order_id: str) -> list[Span]:
        """The spans that bear an order's id."""
        return [span for span in self.spans if span.attributes.get("order.id") == order_id]

    def traces_of(self, order_id: str) -> list[Span]:
        """Every span of the traces in which an order's id occurs: of one trace, if all is well."""
        traces = {span.trace_id for span in self.of_order(order_id)}
        return [span for span in self.spans if span.trace_id in traces]


def spans_of(parts: Iterable[trace_pb2.ResourceSpans]) -> Generator[Span]:
    """The spans in what OTLP sends."""
    for part in parts:
        service = next(a.value.string_value for a in part.resource.attributes if a.key == "service.name")
        for scope in part.scope_spans:
            yield from (_span(service, span) for span in scope.spans)


def _span(service: str, span: trace_pb2.Span) -> Span:
    return Span(
        service=service,
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        status=trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        message=span.status.message,
        events=tuple(Event(event.name, _attributes(event.attributes)) for event in span.events),
        links=tuple(Link(link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
    )


def _attributes(attributes: Any) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return tuple(_value(each) for each in value.array_value.values) if kind == "array_value" else getattr(value, kind)


@asynccontextmanager
async def collecting() -> AsyncGenerator[Collector]:
    """Listen on a free port while open."""
    collector = Collector()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Points(collector.points), server)
    port = server.add_insecure_port("127.0.0.1:0")
    collector.endpoint = f"http://127.0.0.1:{port}"
    await server.start()
    listener = socket.create_server(("127.0.0.1", 0))
    collector.query = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with api.served(collector.kept, listener, drain_seconds=1):
            yield collector
    finally:
        await server.stop(None)


def reported_to(collector: Collector) -> stack_traces.Choice:
    """Have a stack report to it, and without delay."""
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
    }
    return lambda _layout: stack_traces.Traces(collector.endpoint, collector.query, settings=settings)
