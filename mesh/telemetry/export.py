"""Where spans and metrics go: by OTLP to the endpoint that OpenTelemetry's own variables name, if they name one."""

import os
import threading
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
"""After which, at the end of a process, a collector that does not answer is given up."""


@contextmanager
def configured(name: str) -> Generator[None]:
    """Export spans and metrics by OTLP while open, where an endpoint is set by the standard variables.

    Each process is an instance of the service `name`, with a `service.instance.id` of its own.
    """
    with ExitStack() as stack:
        resource = Resource.create({"service.name": name, "service.namespace": "ensemble"})
        if exports("TRACES"):
            stack.enter_context(_exported_spans(resource))
        if exports("METRICS"):
            stack.callback(_export_metrics(resource).shutdown, EXPORT_SECONDS * 1000)
        yield


def exports(signal: Literal["TRACES", "METRICS"]) -> bool:
    """Whether a signal has somewhere to go. `OTEL_<signal>_EXPORTER=none` keeps it from an endpoint for all."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name) for name in endpoints) and os.environ.get(f"OTEL_{signal}_EXPORTER") != "none"


@contextmanager
def _exported_spans(resource: Resource) -> Generator[None]:
    exporter = OTLPSpanExporter(insecure=True)
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BaggageAttributes())
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    # The processor itself would wait for each batch that it still holds, one after the other.
    giving_up = threading.Timer(EXPORT_SECONDS, lambda: exporter.shutdown(0))
    try:
        yield
    finally:
        giving_up.start()
        provider.shutdown()
        giving_up.cancel()


def _export_metrics(resource: Resource) -> MeterProvider:
    exporter = OTLPMetricExporter(insecure=True, timeout=EXPORT_SECONDS)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], resource)
    metrics.set_meter_provider(provider)
    return provider
