"""The two that keep traces: our collector and the real Jaeger, each as its process, and what they are asked."""

import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cli.stack.layout import Layout
from cli.stack.ports import free_port_base
from cli.stack.supervisor import Supervisor
from cli.stack.traces import Choice, Traces, to_collector, to_jaeger

HAS_JAEGER = shutil.which("jaeger") is not None
NO_JAEGER = "needs jaeger on the PATH: go install github.com/jaegertracing/jaeger/cmd/jaeger@v1.76.0, or a release"
JAEGER = pytest.param(to_jaeger, id="jaeger", marks=pytest.mark.skipif(not HAS_JAEGER, reason=NO_JAEGER))
BOTH = [pytest.param(to_collector, id="collector"), JAEGER]

EVER = {"query.start_time_min": "2020-01-01T00:00:00Z", "query.start_time_max": "2100-01-01T00:00:00Z"}


@dataclass(frozen=True)
class Keeper:
    """One of them, running."""

    traces: Traces
    http: aiohttp.ClientSession

    async def ask(self, path: str, **parameters: str) -> tuple[int, Any]:
        """Status, and the answer's JSON."""
        async with self.http.get(path, params=parameters) as response:
            return response.status, json.loads(await response.read())

    async def trace(self, trace_id: str) -> list[Any]:
        """Its `resourceSpans`, none if it is not kept."""
        _, answer = await self.ask(f"/api/v3/traces/{trace_id}")
        return answer["result"]["resourceSpans"] if "result" in answer else []

    async def services(self) -> set[str]:
        _, answer = await self.ask("/api/v3/services")
        return set(answer.get("services", ()))

    async def tagged(self, key: str, value: str) -> set[str]:
        """Ids of the traces in which a span has this attribute.

        This version of Jaeger finds by tag only in the API that its web pages use, and there service by service.
        """
        wanted = json.dumps({key: value})
        if self.traces.program is None or self.traces.program.name != "jaeger":
            _, answer = await self.ask("/api/v3/traces", **{**EVER, "query.attributes": wanted})
            return ids(answer["result"]["resourceSpans"]) if "result" in answer else set()
        answers = [await self.ask("/api/traces", service=name, tags=wanted) for name in await self.services()]
        return {trace["traceID"] for _, answer in answers for trace in answer["data"] or ()}


def ids(resource_spans: list[Any]) -> set[str]:
    """Of the traces that there is a span of."""
    return {span["traceId"] for part in resource_spans for scope in part["scopeSpans"] for span in scope["spans"]}


def services_in(resource_spans: list[Any]) -> set[str]:
    """Who has a span there."""
    attributes = [each for part in resource_spans for each in part["resource"]["attributes"]]
    return {each["value"]["stringValue"] for each in attributes if each["key"] == "service.name"}


@asynccontextmanager
async def asked(traces: Traces) -> AsyncGenerator[Keeper]:
    """Ask who keeps them."""
    async with aiohttp.ClientSession(traces.query) as http:
        yield Keeper(traces, http)


@asynccontextmanager
async def keeping(choice: Choice, logs: Path) -> AsyncGenerator[Keeper]:
    """Run one of them by itself."""
    traces = choice(Layout(free_port_base()))
    assert traces.program is not None
    supervisor = Supervisor(logs, restart=False, report=print, changed=lambda: None)
    try:
        await supervisor.start([traces.program])
        async with asked(traces) as keeper:
            yield keeper
    finally:
        await supervisor.stop()
