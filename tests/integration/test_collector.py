"""The collector and the real Jaeger: what the SDK sends is there, and both are asked, and answer, alike."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from cli.stack.traces import to_collector, to_jaeger
from cli.waterfall.query import spans_of_order
from tests.eventually import eventually
from tests.traces_kept import BOTH, EVER, JAEGER, Keeper, keeping
from tests.unit.collector.spans import sent, span

pytestmark = pytest.mark.integration

UNKNOWN = "f" * 32


@pytest.fixture(scope="module", params=BOTH)
async def keeper(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Keeper]:
    async with keeping(request.param, tmp_path_factory.mktemp("keeper")) as keeper:
        yield keeper


@pytest.fixture(scope="module")
async def collector(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Keeper]:
    async with keeping(to_collector, tmp_path_factory.mktemp("collector")) as keeper:
        yield keeper


def an_order(order_id: str, *endpoints: str) -> str:
    """Trace an order by the SDK, with all that a span can have, and send it to each; returns the trace's id."""
    provider = TracerProvider(resource=Resource.create({"service.name": "orders"}))
    for endpoint in endpoints:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, insecure=True)))
    tracer = provider.get_tracer("test", "1", attributes={"scope": 1})
    told = {"order.id": order_id, "attempt": 0, "large": 2**60, "share": 1.5, "late": False, "items": ["a", "b"]}
    with tracer.start_as_current_span("place", kind=SpanKind.SERVER, attributes=told) as root:
        root.add_event("refused", {"why": ""})
        link = Link(root.get_span_context(), {"cause": "it"})
        with tracer.start_as_current_span("pay", links=[link], attributes={"order.id": order_id}) as child:
            child.set_status(Status(StatusCode.ERROR, "declined"))
    provider.shutdown()
    return f"{root.get_span_context().trace_id:032x}"


async def traced(order_id: str, *keepers: Keeper) -> str:
    """The id of an order's trace, once all keepers have it."""
    endpoints = [keeper.traces.endpoint or "" for keeper in keepers]
    trace_id = await asyncio.to_thread(an_order, order_id, *endpoints)
    for keeper in keepers:

        async def is_there(keeper: Keeper = keeper) -> bool:
            return len(spans(await keeper.trace(trace_id))) == 2

        await eventually(is_there)
    return trace_id


def spans(resource_spans: list[Any]) -> dict[str, Any]:
    """By name, with all that there is to know; in no particular order of attributes, and without what is empty."""
    return {
        span["name"]: plain({**span, "resource": part["resource"], "scope": scope["scope"]})
        for part in resource_spans
        for scope in part["scopeSpans"]
        for span in scope["spans"]
    }


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if each not in ({}, [])}
    if isinstance(value, list) and all(isinstance(each, dict) and "key" in each for each in value):
        return {each["key"]: plain(each["value"]) for each in value}
    return [plain(each) for each in value] if isinstance(value, list) else value


async def test_what_the_sdk_sends_is_found_by_its_trace_id_and_by_tag(keeper: Keeper) -> None:
    trace_id = await traced("by-tag", keeper)

    found = spans(await keeper.trace(trace_id))

    assert {name: each.get("parentSpanId") for name, each in found.items()} == {
        "place": None,
        "pay": found["place"]["spanId"],
    }
    assert await keeper.tagged("order.id", "by-tag") == {trace_id}
    assert await keeper.tagged("order.id", "another") == set()
    assert await keeper.services() == {"orders"}


async def test_an_order_is_found_whose_first_spans_died_with_the_front_door(keeper: Keeper) -> None:
    a_minute_ago = int((time.time() - 60) * 1000)
    order_id = str(uuid.UUID(int=a_minute_ago << 80 | 7 << 76 | 2 << 62))
    trace_id = await traced(order_id, keeper)

    found = await spans_of_order(keeper.traces.query or "", order_id)

    assert [span.trace_id for span in found] == [trace_id, trace_id]


@pytest.mark.parametrize("other", [JAEGER])
async def test_the_collector_answers_what_jaeger_answers(collector: Keeper, other: Any, tmp_path: Any) -> None:
    async with AsyncExitStack() as stack:
        jaeger = await stack.enter_async_context(keeping(to_jaeger, tmp_path))
        trace_id = await traced("the-same", collector, jaeger)
        limit = {"query.num_traces": "10"}
        asked: list[tuple[str, dict[str, str]]] = [
            (f"/api/v3/traces/{trace_id}", {}),
            ("/api/v3/traces", {**EVER, **limit, "query.service_name": "orders", "query.operation_name": "pay"}),
        ]
        for path, parameters in asked:
            answers = [await keeper.ask(path, **parameters) for keeper in (collector, jaeger)]

            ours, theirs = [(status, spans(answer["result"]["resourceSpans"])) for status, answer in answers]
            assert ours == theirs

        assert await collector.ask("/api/v3/services") == await jaeger.ask("/api/v3/services")


@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        (f"/api/v3/traces/{UNKNOWN}", {}, 404),
        ("/api/v3/traces/xyz", {}, 400),
        ("/api/v3/traces", {}, 400),
        ("/api/v3/traces", {**EVER, "query.num_traces": "10", "query.service_name": "nobody"}, 404),
        ("/api/v3/traces", {**EVER, "query.num_traces": "many"}, 400),
        ("/api/v3/traces", {**EVER, "query.start_time_min": "yesterday"}, 400),
    ],
)
async def test_what_cannot_be_answered_says_why(
    keeper: Keeper, path: str, parameters: dict[str, str], status: int
) -> None:
    answered, body = await keeper.ask(path, **parameters)

    assert (answered, body["error"]["httpCode"]) == (status, status)
    assert body["error"]["message"]


@pytest.mark.parametrize("path", ["/", "/api/v3/operations", "/api/v3/traces/"])
async def test_what_the_collector_does_not_know_is_not_found(collector: Keeper, path: str) -> None:
    status, body = await collector.ask(path)

    assert (status, body["error"]["httpCode"]) == (404, 404)


async def test_bad_spans_are_refused_and_counted_and_those_beside_them_kept(collector: Keeper) -> None:
    bad = span(0, 1)
    request = pb.ExportTraceServiceRequest(resource_spans=[sent(span(1, 1), bad, span(1, 2))])

    async with channel(collector) as connection:
        answer = await TraceServiceStub(connection).Export(request)

    assert answer.partial_success.rejected_spans == 1
    assert "trace_id of 16 bytes" in answer.partial_success.error_message
    (part,) = await collector.trace("1".zfill(32))
    assert len(part["scopeSpans"][0]["spans"]) == 2


async def test_bytes_that_are_no_export_are_an_invalid_argument(collector: Keeper) -> None:
    async with channel(collector) as connection:
        export = connection.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await export(b"\xff\xff")

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_metrics_are_not_taken(collector: Keeper) -> None:
    async with channel(collector) as connection:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await MetricsServiceStub(connection).Export(metrics.ExportMetricsServiceRequest())

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def channel(keeper: Keeper) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel((keeper.traces.endpoint or "").removeprefix("http://"))
