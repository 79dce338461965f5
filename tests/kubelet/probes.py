"""The questions that a kubelet asks a pod, and what it makes of the answers."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

import aiohttp
import grpc
from grpc_health.v1 import health_pb2

from tests.k8s.manifests import Manifest
from tests.kubelet.command import CommandFailed
from tests.kubelet.container import Container

PERIOD_SECONDS, TIMEOUT_SECONDS = 10, 1
SUCCESSES, FAILURES = 1, 3
"""What holds where a manifest does not say."""


async def verdicts(probe: Manifest, ask: Callable[[], Awaitable[bool]]) -> AsyncGenerator[bool]:
    """Ask for ever; what is said often enough in a row is told, each time that it is said."""
    enough = {True: probe.get("successThreshold", SUCCESSES), False: probe.get("failureThreshold", FAILURES)}
    before, row = None, 0
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    while True:
        answer = await ask()
        row = row + 1 if answer is before else 1
        before = answer
        if row >= enough[answer]:
            yield answer
        await asyncio.sleep(probe.get("periodSeconds", PERIOD_SECONDS))


async def passes(probe: Manifest, address: str, ports: dict[str, int], container: Container) -> bool:
    """Ask once."""

    def port(of: Manifest) -> int:
        return ports.get(of["port"], of["port"])

    with suppress(OSError, TimeoutError, CommandFailed, aiohttp.ClientError, grpc.aio.AioRpcError):
        async with asyncio.timeout(probe.get("timeoutSeconds", TIMEOUT_SECONDS)):
            match probe:
                case {"grpc": grpc_}:
                    return await _serves(f"{address}:{port(grpc_)}", grpc_.get("service", ""))
                case {"httpGet": http}:
                    return await _is_found(f"http://{address}:{port(http)}{http['path']}")
                case {"tcpSocket": tcp}:
                    return await _is_open(address, port(tcp))
                case {"exec": exec_}:
                    await container.execute(exec_["command"])
                    return True
    return False


async def _serves(address: str, service: str) -> bool:
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        answer = await check(health_pb2.HealthCheckRequest(service=service))
        return answer.status == health_pb2.HealthCheckResponse.SERVING


async def _is_found(url: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as answer:
        return answer.ok


async def _is_open(address: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    return True
