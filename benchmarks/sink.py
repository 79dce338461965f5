"""`python -m benchmarks.sink`: a worker that takes traces and metrics by OTLP, and only counts the traces."""

from contextlib import AsyncExitStack
from typing import Any

import grpc

from benchmarks import worker
from cli.stack.ports import HOST

TRACES = "opentelemetry.proto.collector.trace.v1.TraceService"
METRICS = "opentelemetry.proto.collector.metrics.v1.MetricsService"


class Sink:
    """Says yes to every export. It does not even decode them: what a collector costs is not our business."""

    def __init__(self) -> None:
        self.exports = 0
        self.bytes = 0

    async def traces(self, request: bytes, _context: Any) -> bytes:
        self.exports += 1
        self.bytes += len(request)
        return b""

    async def metrics(self, _request: bytes, _context: Any) -> bytes:
        return b""


async def start(_given: Any, stack: AsyncExitStack) -> worker.Answer:
    """Listen on a free port; whoever asks is told where, and what came."""
    sink, server = Sink(), grpc.aio.server()
    for service, export in ((TRACES, sink.traces), (METRICS, sink.metrics)):
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(export)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    stack.push_async_callback(server.stop, None)

    async def answer(_question: Any) -> dict[str, Any]:
        return {"endpoint": f"http://{HOST}:{port}", "exports": sink.exports, "bytes": sink.bytes}

    return answer


if __name__ == "__main__":
    worker.run(start)
