"""Channels to peers: balanced, kept alive, with deadlines and retries from the contract, and the trace passed on."""

import asyncio
import importlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from ensemble.mesh.v1 import command_pb2
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from mesh import contract
from mesh.rpc.server_interceptor import deadline
from mesh.telemetry import metrics, tracing

tracer = trace.get_tracer("ensemble.mesh")

MARGIN = 0.05
"""Seconds an inherited deadline is shortened by, so that the answer to our own caller still gets out."""


class Peers:
    """A channel for each peer, found by the proto package that the peer serves.

    The target's scheme is the mode: `ipv4:` for a fixed list, `dns:///` for headless Services.
    """

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        self._channels = channels

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to `package.Service`. Raises KeyError, naming the setting, if the peer is not set."""
        package = service.rpartition(".")[0]
        try:
            return self._channels[package]
        except KeyError:
            raise KeyError(f"no address for {package}: add it to ENSEMBLE_PEERS") from None


@asynccontextmanager
async def connected(targets: Mapping[str, str]) -> AsyncGenerator[Peers]:
    """Channels to `targets` (proto package to gRPC target) while open."""
    async with AsyncExitStack() as stack:
        channels: dict[str, grpc.aio.Channel] = {}
        for package, target in targets.items():
            channels[package] = await stack.enter_async_context(channel(target, package))
        yield Peers(channels)


def channel(target: str, package: str) -> grpc.aio.Channel:
    """One channel to the services of `package` at `target`; the caller closes it."""
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(_service_config(package))),
        ("grpc.keepalive_time_ms", 5_000),
        ("grpc.http2.ping_timeout_ms", 2_000),  # finds a frozen peer; keepalive_timeout_ms does not
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),  # 30 s by default: longer than a roll-out takes
    ]
    return grpc.aio.insecure_channel(
        target, options, interceptors=[UnaryClientInterceptor(), StreamClientInterceptor()]
    )


def _service_config(package: str) -> dict[str, Any]:
    """Round robin, and retries of what the contract allows to be repeated.

    Timeouts are not set here: C-core fires them one to two seconds early (grpc/grpc#34547).
    """
    retry = {
        "maxAttempts": 3,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    names = [{"service": service, "method": name} for service, name in _repeatable(package)]
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": names, "retryPolicy": retry}] if names else [],
    }


def _repeatable(package: str) -> list[tuple[str, str]]:
    service = package.split(".")[-2]
    generated = importlib.import_module(f"{package}.{service}_service_pb2")
    return [
        (descriptor.full_name, method.path.rpartition("/")[2])
        for descriptor in generated.DESCRIPTOR.services_by_name.values()
        for method in contract.methods(descriptor)
        if method.retry != command_pb2.RETRY_UNSPECIFIED
    ]


class UnaryClientInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """Sets the deadline, passes the trace on and records a client span."""

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[grpc.aio.UnaryUnaryCall[Any, Any]]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        span, details = _prepare(client_call_details)
        end = _end_of(span, _text(details.method)[1:])
        call = await continuation(details, request)
        call.add_done_callback(end)
        return call


class StreamClientInterceptor(grpc.aio.UnaryStreamClientInterceptor):
    """The same for streams, which have no deadline of their own."""

    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[grpc.aio.UnaryStreamCall[Any, Any]]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        span, details = _prepare(client_call_details)
        end = _end_of(span, _text(details.method)[1:])
        call = await continuation(details, request)
        call.add_done_callback(end)
        return call


def _prepare(details: grpc.aio.ClientCallDetails) -> tuple[trace.Span, grpc.aio.ClientCallDetails]:
    path = _text(details.method)
    attributes = {"rpc.system.name": "grpc", "rpc.method": path[1:]}
    span = tracer.start_span(path[1:], kind=SpanKind.CLIENT, attributes=attributes)
    headers: dict[str, str] = {}
    propagate.inject(headers, trace.set_span_in_context(span))
    metadata = grpc.aio.Metadata(*(details.metadata or ()), *headers.items())
    timeout = details.timeout if details.timeout is not None else _timeout(path)
    credentials = details.credentials
    return span, grpc.aio.ClientCallDetails(details.method, timeout, metadata, credentials, wait_for_ready=True)


def _timeout(path: str) -> float | None:
    """The contract's deadline, or what is left of the call being served, whichever ends first."""
    declared = contract.method(path).deadline
    inherited = deadline.get()
    if inherited is None:
        return declared
    left = max(inherited - time.monotonic() - MARGIN, 0.001)
    return left if declared is None else min(declared, left)


def _text(method: str | bytes) -> str:
    return method.decode() if isinstance(method, bytes) else method


def _end_of(span: trace.Span, method: str) -> Callable[[Any], None]:
    """What is to be told of a call that begins now, once it is over."""
    started = time.perf_counter()

    def end(call: Any) -> None:
        if not (span.is_recording() or metrics.are_exported()):
            return
        seconds = time.perf_counter() - started
        task = asyncio.ensure_future(_record(span, method, seconds, call))  # its code can only be awaited, even now
        _recording.add(task)
        task.add_done_callback(_recording.discard)

    return end


async def _record(span: trace.Span, method: str, seconds: float, call: Any) -> None:
    code: grpc.StatusCode = grpc.StatusCode.CANCELLED if call.cancelled() else await call.code()
    span.set_attribute("rpc.response.status_code", code.name)
    if code is not grpc.StatusCode.OK and not call.cancelled():  # who cancels has heard enough
        tracing.failed(span, code.name, await call.details() or "")
    span.end()
    metrics.called(method, code.name, seconds, trace.set_span_in_context(span))


_recording: set[asyncio.Future[None]] = set()
