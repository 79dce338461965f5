"""The outside world continues the caller's trace."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from sandbox import door
from tests.integration.sandbox.world import CHARGE, World


async def test_request_continues_the_callers_trace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(door, "tracer", provider.get_tracer("sandbox"))
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await world.ask("PUT", "/v1/payments/p1", json=CHARGE, headers={"traceparent": caller})
    await world.pay("p2")
    (span,) = spans.get_finished_spans()

    assert span.name == "PUT /v1/payments/{key}"
    assert span.kind is SpanKind.SERVER
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == caller.split("-")[1]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == caller.split("-")[2]
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 200
