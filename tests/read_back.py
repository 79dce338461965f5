"""Traces as those who keep them tell them again: our collector's store, and the real Jaeger where it is installed."""

import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from cli.stack.traces import Traces, to_jaeger
from tests.spans import Collector, Span, spans_of
from tests.traces_kept import HAS_JAEGER, Keeper, asked, keeping

IDS = {"traceId", "spanId", "parentSpanId"}


@asynccontextmanager
async def kept(collector: Collector, logs: Path) -> AsyncGenerator[list[Keeper]]:
    """All of them, told what the collector is told while open."""
    async with AsyncExitStack() as stack:
        keepers = [await stack.enter_async_context(asked(Traces(collector.endpoint, collector.query)))]
        if HAS_JAEGER:
            jaeger = await stack.enter_async_context(keeping(to_jaeger, logs))
            address = (jaeger.traces.endpoint or "").removeprefix("http://")
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            collector.others.append(TraceServiceStub(channel))
            keepers.append(jaeger)
        yield keepers


async def read_back(keeper: Keeper, trace_id: str) -> list[Span]:
    """What it knows of a trace."""
    found = await keeper.trace(trace_id)
    return list(spans_of(ParseDict(_in_base64(part), ResourceSpans()) for part in found))


def _in_base64(value: Any) -> Any:
    """The same, its ids as protobuf writes bytes: OTLP writes them in hex."""
    if isinstance(value, list):
        return [_in_base64(each) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("Mapping[str, Any]", value)
    return {name: _id(each) if name in IDS else _in_base64(each) for name, each in fields.items()}


def _id(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()
