"""Is a process ready? It is asked what it is there to answer."""

from urllib.parse import urlsplit

import aiohttp
import asyncpg
import grpc
from grpc_health.v1 import health_pb2

from cli.stack import StackError

TIMEOUT_SECONDS = 1


async def is_ready(probe: str) -> bool:
    """Whether what the URL stands for answers: `grpc:` its health, `http:` with 200, `postgresql:` a query.

    Raises StackError when it answers, but will never be ready for us.
    """
    return await _PROBES[urlsplit(probe).scheme](probe)


async def _answers_http(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url, timeout=_TIMEOUT) as response:
            return response.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _answers_query(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=TIMEOUT_SECONDS)
    except asyncpg.InvalidPasswordError as error:
        raise StackError(f"PostgreSQL refuses our password, secrets.json is not its own: {error}") from error
    except (OSError, asyncpg.PostgresError):
        return False
    try:
        return await connection.fetchval("SELECT true", timeout=TIMEOUT_SECONDS) is True
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    finally:
        connection.terminate()


async def _reports_serving(url: str) -> bool:
    async with grpc.aio.insecure_channel(urlsplit(url).netloc) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING


_TIMEOUT = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
_PROBES = {"grpc": _reports_serving, "http": _answers_http, "postgresql": _answers_query}
