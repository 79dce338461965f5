"""What every HTTP request has in common: where its ledger is, how it is read, traced, logged and refused."""

import re
import sqlite3
import time
from typing import Annotated, TypeVar

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from opentelemetry import propagate, trace
from opentelemetry.context import attach, detach
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.ledger import Ledger, NeverSeen

log: structlog.stdlib.BoundLogger = structlog.get_logger("sandbox")

tracer = trace.get_tracer("sandbox")

LEDGER = web.AppKey("ledger", Ledger)

SLOW_SECONDS = 2.0
"""How late the answer to a slow test value is; what it asked for is done before."""

MAX_BODY_BYTES = 64 * 1024

Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\P{C}*$")]
"""A short text without control characters."""


class Body(BaseModel):
    """A request's JSON object: nothing missing, nothing unknown, no type bent to fit."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


B = TypeVar("B", bound=Body)


class BadInput(Exception):
    """The request cannot be understood; `field` is where."""

    def __init__(self, field: str, error: str) -> None:
        super().__init__(f"{field}: {error}")
        self.field = field
        self.error = error


def key_of(request: web.Request) -> str:
    """The name the caller chose. Raises BadInput."""
    key = request.match_info["key"]
    if not re.fullmatch(r"[A-Za-z0-9._~:/-]{1,255}", key):
        raise BadInput("key", "must be 1 to 255 letters, digits or ._~:/-")
    return key


async def body_of(request: web.Request, shape: type[B]) -> B:
    """The request's body, checked. Raises BadInput."""
    try:
        content = await request.read()
    except web.RequestPayloadError as error:
        raise BadInput("body", "cannot be read") from error
    try:
        return shape.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise BadInput(".".join(map(str, first["loc"])) or "body", first["msg"]) from error


def lost_answer() -> web.Response:
    """What a caller sees when the work was done but the answer did not come through."""
    return refusal(503, "unavailable")


def refusal(status: int, error: str, **details: str) -> web.Response:
    return web.json_response({"error": error, **details}, status=status)


@web.middleware
async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Continue the caller's trace with one span, when there is one to continue."""
    if "traceparent" not in request.headers:
        return await handler(request)
    token = attach(propagate.extract(request.headers))
    try:
        return await _in_a_span(request, handler)
    finally:
        detach(token)


async def _in_a_span(request: web.Request, handler: Handler) -> web.StreamResponse:
    route = _route(request)
    with tracer.start_as_current_span(f"{request.method} {route}", kind=SpanKind.SERVER) as span:
        response = await handler(request)
        if span.is_recording():
            span.set_attribute(HTTP_REQUEST_METHOD, request.method)
            span.set_attribute(HTTP_ROUTE, route)
            span.set_attribute(HTTP_RESPONSE_STATUS_CODE, response.status)
            if response.status >= web.HTTPInternalServerError.status_code:
                span.set_attribute(ERROR_TYPE, str(response.status))
                span.set_status(StatusCode.ERROR)
        return response


@web.middleware
async def logged(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One canonical line per request."""
    started = time.perf_counter()
    response = await handler(request)
    log.info(
        "request",
        http__request__method=request.method,
        url__path=request.path,
        http__response__status_code=response.status,
        duration_ms=round((time.perf_counter() - started) * 1000, 3),
    )
    return response


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer in JSON whatever goes wrong."""
    try:
        return await handler(request)
    except BadInput as bad:
        return refusal(400, bad.error, field=bad.field)
    except NeverSeen:
        return refusal(404, "not_found")
    except sqlite3.Error:
        log.exception("ledger_unavailable")
        return refusal(503, "ledger_unavailable")
    except web.HTTPException as error:  # no such route, wrong method, body too large
        response = refusal(error.status, error.reason)
        if hdrs.ALLOW in error.headers:
            response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return response


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"
