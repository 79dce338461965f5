"""OpenTelemetry: where spans and metrics go, and the W3C context that travels through gRPC, the outbox and NATS.

What all spans of one story share (an order's id, a mode) travels as baggage and is written on each of them, so no
code on the way needs to know these words.
"""

import os
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Literal

from opentelemetry import baggage, metrics, propagate, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

EXPORT_SECONDS = 3
"""After which a collector that does not answer is given up: it must not hold up the end of a process."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Bounds of durations, seconds, as OpenTelemetry's conventions have them; the SDK's own are meant for milliseconds."""


@contextmanager
def configured(name: str) -> Generator[None]:
    """Export spans and metrics by OTLP while open, where an endpoint is set by the standard variables.

    Each process is an instance of the service `name`, with a `service.instance.id` of its own.
    """
    with ExitStack() as stack:
        resource = Resource.create({"service.name": name, "service.namespace": "ensemble"})
        if exports("TRACES"):
            stack.callback(_export_spans(resource).shutdown)
        if exports("METRICS"):
            stack.callback(_export_metrics(resource).shutdown, EXPORT_SECONDS * 1000)
        yield


def exports(signal: Literal["TRACES", "METRICS"]) -> bool:
    """Whether a signal has somewhere to go. `OTEL_<signal>_EXPORTER=none` keeps it from an endpoint for all."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name) for name in endpoints) and os.environ.get(f"OTEL_{signal}_EXPORTER") != "none"


def _export_spans(resource: Resource) -> TracerProvider:
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BaggageAttributes())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(insecure=True, timeout=EXPORT_SECONDS)))
    trace.set_tracer_provider(provider)
    return provider


def _export_metrics(resource: Resource) -> MeterProvider:
    exporter = OTLPMetricExporter(insecure=True, timeout=EXPORT_SECONDS)
    durations = View(
        instrument_type=Histogram,
        instrument_unit="s",
        aggregation=ExplicitBucketHistogramAggregation(boundaries=BUCKETS),
    )
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], resource, views=[durations])
    metrics.set_meter_provider(provider)
    return provider


class BaggageAttributes(SpanProcessor):
    """Writes the baggage of the story on each of its spans."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        for key, value in baggage.get_all(parent_context).items():
            span.set_attribute(key, str(value))

    def on_end(self, span: ReadableSpan) -> None:
        """Nothing to do."""


def inject() -> dict[str, str]:
    """The current context as W3C headers."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def extract(headers: Mapping[str, str]) -> Context:
    """The context that `headers` carry."""
    return propagate.extract(headers)


@contextmanager
def continued(headers: Mapping[str, str]) -> Generator[None]:
    """Go on, while open, in the trace that `headers` carry: for what was stored and is taken up again later."""
    token = attach(extract(headers))
    try:
        yield
    finally:
        detach(token)


@contextmanager
def story(**entries: str) -> Generator[None]:
    """Write these words on the current span and on every span below it, in all processes. `__` stands for `.`."""
    words = {key.replace("__", "."): value for key, value in entries.items()}
    trace.get_current_span().set_attributes(words)
    context = get_current()
    for key, value in words.items():
        context = baggage.set_baggage(key, value, context)
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def trace_id() -> str | None:
    """The current trace's id in hex, if there is a trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
