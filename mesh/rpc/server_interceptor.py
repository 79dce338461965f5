"""What happens around every call a process serves: trace, validation, fence, errors as status, one log line."""

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from mesh import fence, validation
from mesh.errors import Outage, Refusal
from mesh.rpc import status
from mesh.telemetry import metrics, tracing

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.rpc")
tracer = trace.get_tracer("ensemble.mesh")

deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("deadline", default=None)
"""When the call being served must be answered, on the monotonic clock; calls it makes inherit it."""

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
MaybeHandler: TypeAlias = "Handler | None"
Decode = Callable[[bytes], Message]
Extract = Callable[[Mapping[str, str]], otel.Context]
UnaryMethod = Callable[[Any, Context], Awaitable[Any]]
StreamMethod = Callable[[Any, Context], AsyncIterable[Any]]


class InvalidRequest(Exception):
    """The request, or a header that comes with it, breaks its contract."""

    def __init__(self, found: list[validation.Violation]) -> None:
        super().__init__()
        self.found = found


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each method of ours once; health, reflection and channelz are left as they are."""

    def __init__(self, extract: Extract = tracing.extract) -> None:
        self._extract = extract
        self._wrapped: dict[str, Handler] = {}
        self._streams = Streams()

    def end_streams(self) -> None:
        """Answer UNAVAILABLE to every stream, now and from now on: whoever follows something, asks another replica."""
        self._streams.end()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[MaybeHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MaybeHandler:
        path = handler_call_details.method
        if path in self._wrapped:
            return self._wrapped[path]
        handler = await continuation(handler_call_details)
        if handler is None or path.startswith("/grpc."):
            return handler
        self._wrapped[path] = _wrap(path, handler, self._streams, self._extract)
        return self._wrapped[path]


class Streams:
    """The tasks that serve streams. A drain would wait for those in vain."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = False

    @contextmanager
    def serving(self) -> Generator[None]:
        """Count the current task while open. Raises Outage where the streams are ended meanwhile."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - gRPC serves each call in one
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self._ended:
                raise Outage("draining") from None
            raise
        finally:
            self._tasks.discard(task)

    def end(self) -> None:
        """Interrupt them."""
        self._ended = True
        for task in self._tasks:
            task.cancel()


def _wrap(path: str, handler: Handler, streams: Streams, extract: Extract) -> Handler:
    """The same method, but its request is decoded here, so that bytes that are none get a typed answer too."""
    decode = cast("Decode", handler.request_deserializer)
    encode = handler.response_serializer
    if handler.unary_unary:
        unary = _unary(path, decode, cast("UnaryMethod", handler.unary_unary), extract)
        return grpc.unary_unary_rpc_method_handler(unary, None, encode)
    stream = _stream(path, decode, cast("StreamMethod", handler.unary_stream), streams, extract)
    return grpc.unary_stream_rpc_method_handler(stream, None, encode)


def _unary(path: str, decode: Decode, method: UnaryMethod, extract: Extract) -> Any:
    async def serve(raw: bytes, context: Context) -> Any:
        call = _Call(path, context, extract)
        try:
            response = await method(call.request(raw, decode), context)
        except BaseException as error:
            await call.fail(error)
            raise
        call.end(grpc.StatusCode.OK)
        return response

    return serve


def _stream(path: str, decode: Decode, method: StreamMethod, streams: Streams, extract: Extract) -> Any:
    async def serve(raw: bytes, context: Context) -> AsyncGenerator[Any]:
        call = _Call(path, context, extract)
        try:
            with streams.serving():
                async for response in method(call.request(raw, decode), context):
                    yield response
        except BaseException as error:
            await call.fail(error)
            raise
        call.end(grpc.StatusCode.OK)

    return serve


class _Call:
    """One call: its span, deadline, fence, log line. gRPC runs each in a task of its own, so that what is put into the
    task's context here never has to be taken out.
    """

    def __init__(self, path: str, context: Context, extract: Extract) -> None:
        self._path = path
        self._context = context
        self._domain = path[1:].rpartition("/")[0].rpartition(".")[0]
        self._started = time.perf_counter()
        remaining = cast("float | None", context.time_remaining())  # None without a deadline, whatever the stubs say
        deadline.set(None if remaining is None else time.monotonic() + remaining)
        self._headers = {key: str(value) for key, value in context.invocation_metadata() or ()}
        parent = extract(self._headers)
        self._span = tracer.start_span(path[1:], parent, SpanKind.SERVER)
        otel.attach(trace.set_span_in_context(self._span, parent))
        if (trace_id := tracing.trace_id()) is not None:
            context.set_trailing_metadata((("trace-id", trace_id),))

    def request(self, raw: bytes, decode: Decode) -> Message:
        """The request, decoded and valid, and its fence set. Raises InvalidRequest."""
        try:
            request = decode(raw)
        except DecodeError as error:
            raise InvalidRequest([validation.Violation("request", f"cannot be decoded: {error}")]) from error
        # What the contract does not know has no limits: kept, it would be stored and sent on, however large.
        request.DiscardUnknownFields()
        if found := fence.violations(self._headers) + validation.violations(request):
            raise InvalidRequest(found)
        fence.current.set(fence.stated(self._headers))
        return request

    async def fail(self, error: BaseException) -> None:
        """Answer with the status of `error`. Returns only if the caller is gone."""
        answer = self._status(error)
        if answer is None:
            self.end(grpc.StatusCode.CANCELLED)
            return
        code = _CODES[answer.code]
        self.end(code, answer.message, error)
        trailers: list[tuple[str, str | bytes]] = [(status.DETAILS, answer.SerializeToString())]
        if (trace_id := tracing.trace_id()) is not None:
            trailers.append(("trace-id", trace_id))
        await self._context.abort(code, answer.message, tuple(trailers))

    def _status(self, error: BaseException) -> status_pb2.Status | None:
        match error:
            case InvalidRequest():
                return status.of_violations(error.found, self._domain)
            case Refusal():
                return status.of_refusal(error, self._domain)
            case Outage():
                return status.of_outage(self._domain)
            case Exception():
                return status.of_bug(self._domain)
            case _:
                return None

    def end(self, code: grpc.StatusCode, message: str = "", error: BaseException | None = None) -> None:
        if self._span.is_recording():
            self._span.set_attribute("rpc.system.name", "grpc")
            self._span.set_attribute("rpc.method", self._path[1:])
            self._span.set_attribute("rpc.response.status_code", code.name)
            if code is not grpc.StatusCode.OK:
                self._span.set_attribute("error.type", code.name)
            if code in _FAULTS:
                self._span.set_status(StatusCode.ERROR, message)
                if error is not None:
                    self._span.record_exception(error)
            if isinstance(error, Refusal):
                tracing.refused(self._span, error)
            if (before := self._headers.get("grpc-previous-rpc-attempts", "")).isdecimal():
                self._span.add_event("repeated by the channel", {"ensemble.attempt": int(before) + 1})
        self._span.end()
        seconds = time.perf_counter() - self._started
        metrics.served(self._path[1:], code.name, seconds, failed=code in _FAULTS)
        log.log(
            logging.ERROR if code in _FAULTS else logging.INFO,
            "rpc",
            rpc__method=self._path[1:],
            rpc__response__status_code=code.name,
            message=message,
            duration_ms=round(seconds * 1000, 2),
            exc_info=error if code is grpc.StatusCode.INTERNAL else None,
        )


_CODES = {code.value[0]: code for code in grpc.StatusCode}
_FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS}
"""Codes that are this server's fault (OpenTelemetry's RPC conventions); the others are answers."""
