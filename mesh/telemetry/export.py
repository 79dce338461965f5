"""Where spans and metrics go: by OTLP to the endpoint that OpenTelemetry's own variables name, if they name one."""

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Literal

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from mesh.telemetry.tracing import BaggageAttributes

EXPORT_SECONDS = 3
"""After which a collector that does not answer is given up: it must not hold up the end of a process."""


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
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], resource)
    metrics.set_meter_provider(provider)
    return provider
