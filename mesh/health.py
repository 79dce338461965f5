"""Health that tells the truth, by door (`grpc.health.v1`).

The RPC door (`""` and the name of each service) serves as long as its database answers: it says whether to call here.
The event door (`events`) also needs the broker; an outage of the broker must not take the RPCs down. The process itself
(`process`) serves as long as it answers at all: it says whether to start it anew, which mends no database.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mesh.background import ended

EVENTS, PROCESS = "events", "process"
INTERVAL = 1.0
"""Seconds between two looks; each look is given as long."""

Check = Callable[[], Awaitable[bool]]


class Health:
    """What a process depends on, door by door."""

    def __init__(self, rpc: Check, events: Check | None = None) -> None:
        self._servicer = health.aio.HealthServicer()
        self._checks: dict[str, Check] = {"": rpc, PROCESS: _runs}
        if events is not None:
            self._checks[EVENTS] = events

    def cover(self, service: str) -> None:
        """Report `service` as the RPC door."""
        self._checks[service] = self._checks[""]

    def attach(self, server: grpc.aio.Server) -> None:
        """Answer `grpc.health.v1.Health` on `server`."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    @asynccontextmanager
    async def reported(self) -> AsyncGenerator[None]:
        """Keep the statuses true while open."""
        await self._look()
        looking = asyncio.ensure_future(self._keep_looking())
        try:
            yield
        finally:
            await ended(looking)

    async def drain(self) -> None:
        """Report NOT_SERVING at every door from now on."""
        await self._servicer.enter_graceful_shutdown()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await self._look()

    async def _look(self) -> None:
        answers = {check: await _answers(check) for check in set(self._checks.values())}
        for door, check in self._checks.items():
            serving = health_pb2.HealthCheckResponse.SERVING
            await self._servicer.set(door, serving if answers[check] else health_pb2.HealthCheckResponse.NOT_SERVING)


async def _runs() -> bool:
    return True


async def _answers(check: Check) -> bool:
    try:
        return await asyncio.wait_for(check(), INTERVAL)
    except TimeoutError:
        return False
