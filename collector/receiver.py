"""The door by which spans come in: OTLP over gRPC.

A server of its own, not the kit's: that one holds each request to the rules of our contracts, and refuses it as a
whole. OTLP has its own: what can be taken of an export is taken, and the sender is told of the rest.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from collector.store import Traces

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
MAX_MESSAGE_BYTES = 16 << 20
"""Of one export. An SDK sends up to 512 spans at once, some of them with the traceback of an error."""


@asynccontextmanager
async def served(traces: Traces, listen: str, drain_seconds: float) -> AsyncGenerator[int]:
    """Take exports while open; yields the port. Raises OSError if `listen` cannot be bound."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)])
    handlers: dict[str, grpc.RpcMethodHandler[bytes, ExportTraceServiceResponse]] = {
        "Export": grpc.unary_unary_rpc_method_handler(
            _Receiver(traces).export, response_serializer=ExportTraceServiceResponse.SerializeToString
        )
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = _bind(server, listen)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(drain_seconds)


def _bind(server: grpc.aio.Server, listen: str) -> int:
    try:
        return server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {listen}: is the port in use?") from error


class _Receiver:
    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    async def export(self, raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> ExportTraceServiceResponse:
        """Keep the spans. Those that cannot be kept are counted, and the sender is told why."""
        try:
            request = ExportTraceServiceRequest.FromString(raw)
        except DecodeError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the request cannot be decoded: {error}")
        refused = self._traces.add(request.resource_spans)
        if not refused:
            return ExportTraceServiceResponse()
        partial = ExportTracePartialSuccess(rejected_spans=refused.total(), error_message="; ".join(refused))
        return ExportTraceServiceResponse(partial_success=partial)
