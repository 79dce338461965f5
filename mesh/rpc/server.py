"""The gRPC server of a process: its services, health, reflection and channelz, and a graceful end."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_channelz.v1 import channelz, channelz_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from mesh.health import Health
from mesh.rpc.server_interceptor import ServerInterceptor
from mesh.telemetry import tracing

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.rpc")

MAX_MESSAGE_BYTES = 1 << 20
"""Larger requests are refused with RESOURCE_EXHAUSTED before they are decoded."""

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # a second process on the port must fail, not share it
    # A client may ping a quiet connection each second, to find out soon that we are gone.
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    # Who connects anew asks DNS anew: replicas that were added get their share within a minute. Calls are let finish.
    ("grpc.max_connection_age_ms", 60_000),
]


@asynccontextmanager
async def serving(
    listen: str,
    servicers: Iterable[tuple[ServiceDescriptor, Any]],
    health: Health,
    drain_seconds: float,
    *,
    public: bool = False,
) -> AsyncGenerator[int]:
    """Serve while open; yields the port.

    Each servicer comes with its descriptor. `public`: the callers are strangers. Leaving reports NOT_SERVING first,
    then refuses new calls and gives those in flight `drain_seconds` to finish. Raises OSError if `listen` cannot be
    bound.
    """
    interceptor = ServerInterceptor(tracing.extract_from_stranger if public else tracing.extract)
    server = grpc.aio.server(interceptors=[interceptor], options=OPTIONS)
    names = [health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME]
    names.append(channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name)
    for descriptor, servicer in servicers:
        _register(server, descriptor, servicer)
        health.cover(descriptor.full_name)
        names.append(descriptor.full_name)
    health.attach(server)
    reflection.enable_server_reflection(names, server)
    channelz.add_channelz_servicer(server)
    port = _bind(server, listen)
    await server.start()
    log.info("listening", address=listen, port=port)
    async with health.reported():
        yield port
        await health.drain()
        interceptor.end_streams()
        await asyncio.shield(server.stop(drain_seconds))


def _bind(server: grpc.aio.Server, listen: str) -> int:
    try:
        return server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {listen}: is the port in use?") from error


def _register(server: grpc.aio.Server, descriptor: ServiceDescriptor, servicer: Any) -> None:
    """What the generated `add_XServicer_to_server` does, for any servicer."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in descriptor.methods:
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method.name] = make(
            getattr(servicer, method.name),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(descriptor.full_name, handlers),))
