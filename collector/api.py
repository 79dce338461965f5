"""The door by which traces are asked for: Jaeger's query API (api_v3) over HTTP, as far as a reader needs it."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from collector import otlp_json, query
from collector.query import BadParameter
from collector.store import Trace, Traces

TRACES = web.AppKey("traces", Traces)

routes = web.RouteTableDef()


@asynccontextmanager
async def served(traces: Traces, listener: socket.socket, drain_seconds: float) -> AsyncGenerator[None]:
    """Answer HTTP on `listener` while open."""
    app = web.Application(middlewares=[answered])
    app[TRACES] = traces
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=drain_seconds)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


@routes.get("/api/v3/traces/{trace_id}")
async def get_trace(request: web.Request) -> web.Response:
    trace_id = request.match_info["trace_id"]
    if not re.fullmatch(r"[0-9a-fA-F]{1,32}", trace_id):
        raise BadParameter("malformed parameter trace_id: up to 32 hexadecimal digits")
    trace = request.app[TRACES].get(bytes.fromhex(trace_id.zfill(32)))
    return await _answer([trace] if trace else [])


@routes.get("/api/v3/traces")
async def find_traces(request: web.Request) -> web.Response:
    return await _answer(query.find(request.app[TRACES].newest_first(), query.parsed(request.query)))


@routes.get("/api/v3/services")
async def services(request: web.Request) -> web.Response:
    return web.json_response({"services": sorted(request.app[TRACES].services())})


@routes.get("/health")
async def health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors look like Jaeger's."""
    try:
        return await handler(request)
    except BadParameter as error:
        return _error(web.HTTPBadRequest.status_code, str(error))
    except web.HTTPException as error:  # no such route, wrong method
        return _error(error.status, error.reason)


async def _answer(found: list[Trace]) -> web.Response:
    if not found:
        return _error(web.HTTPNotFound.status_code, "No traces found")
    parts = [part for trace in found for part in trace.parts]
    text = await asyncio.to_thread(_written, parts)  # many spans take seconds; exports go on meanwhile
    return web.Response(text=text, content_type="application/json")


def _written(parts: Iterable[otlp_json.ResourceSpans]) -> str:
    written = ",".join(json.dumps(otlp_json.resource_spans(part)) for part in parts)  # each by itself: they are large
    return f'{{"result": {{"resourceSpans": [{written}]}}}}'


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"httpCode": status, "message": message}}, status=status)
