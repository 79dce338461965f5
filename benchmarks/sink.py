"""`python -m benchmarks.sink`: a worker that takes traces by OTLP and does nothing with them but count."""

from contextlib import AsyncExitStack
from typing import Any

import grpc

from benchmarks import worker
from cli.stack.ports import HOST

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


class Sink:
    """Says yes to every export. It does not even decode them: what a collector costs is not our business."""

    def __init__(self) -> None:
        self.exports = 0
        self.bytes = 0

    async def export(self, request: bytes, _context: Any) -> bytes:
        self.exports += 1
        self.bytes += len(request)
        return b""


async def start(_given: Any, stack: AsyncExitStack) -> worker.Answer:
    """Listen on a free port; whoever asks is told where, and what came."""
    sink, server = Sink(), grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Export": grpc.unary_unary_rpc_method_handler(sink.export)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    stack.push_async_callback(server.stop, None)

    async def answer(_question: Any) -> dict[str, Any]:
        return {"endpoint": f"http://{HOST}:{port}", "exports": sink.exports, "bytes": sink.bytes}

    return answer


if __name__ == "__main__":
    worker.run(start)
