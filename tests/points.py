"""The metrics that an OTLP endpoint is sent."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc


@dataclass(frozen=True)
class Point:
    """What a test looks at."""

    service: str
    instance: str
    metric: str
    kind: str
    """gauge, sum or histogram."""
    unit: str
    value: float
    """Of a histogram, how often something was recorded."""
    attributes: dict[str, str]
    bounds: tuple[float, ...]
    """Of a histogram's buckets."""
    exemplars: frozenset[str]
    """The traces that its examples belong to."""


class Points(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Adds every point to a list."""

    def __init__(self, points: list[Point]) -> None:
        self._points = points

    async def Export(self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: Any) -> Any:
        for resource in request.resource_metrics:
            origin = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self._points += _points(origin, metric)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def _points(origin: dict[str, str], metric: Any) -> Generator[Point]:
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points:
        yield Point(
            service=origin["service.name"],
            instance=origin["service.instance.id"],
            metric=metric.name,
            kind=kind,
            unit=metric.unit,
            value=point.count if kind == "histogram" else getattr(point, point.WhichOneof("value")),
            attributes={a.key: a.value.string_value for a in point.attributes},
            bounds=tuple(point.explicit_bounds) if kind == "histogram" else (),
            exemplars=frozenset(exemplar.trace_id.hex() for exemplar in getattr(point, "exemplars", ())),
        )
