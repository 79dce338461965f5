"""Tracing: the W3C context that travels through gRPC, the outbox and NATS, and the words of a story.

What all spans of one story share (an order's id, a mode) travels as baggage and is written on each of them, so no
code on the way needs to know these words.
"""

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import Link, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from mesh.errors import Refusal

tracer = trace.get_tracer("ensemble.mesh")

SAMPLED = ("1", "3")
"""How the header `traceparent` ends if the trace is recorded; the other flag says that its id is random."""


class BaggageAttributes(SpanProcessor):
    """Writes the baggage of the story on each of its spans."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        for key, value in baggage.get_all(parent_context).items():
            span.set_attribute(key, str(value))

    def on_end(self, span: ReadableSpan) -> None:
        """Nothing to do."""


def inject() -> dict[str, str]:
    """The current context as W3C headers."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def extract(headers: Mapping[str, str]) -> Context:
    """The context that `headers` carry."""
    return propagate.extract(headers)


def extract_from_stranger(headers: Mapping[str, str]) -> Context:
    """Their trace, but not their baggage: a stranger's words are not written on our spans (W3C Baggage, 4.1).

    Nor the `tracestate` of their vendors, which may be long: whomever we call would be sent it, and might refuse.
    """
    return TraceContextTextMapPropagator().extract({"traceparent": headers.get("traceparent", "")})


def is_sampled(headers: Mapping[str, str]) -> bool:
    """Whether the trace that `headers` carry is recorded."""
    return headers.get("traceparent", "").endswith(SAMPLED)


@contextmanager
def continued(headers: Mapping[str, str], name: str) -> Generator[None]:
    """Go on, while open, in the trace that `headers` carry: for what was stored and is taken up again later.

    The span `name` is linked to where we came from, or is its child if that is in the same trace.
    """
    here, stored = trace.get_current_span().get_span_context(), extract(headers)
    links = [Link(here)] if here.is_valid else []
    if here.trace_id == trace.get_current_span(stored).get_span_context().trace_id:
        stored, links = get_current(), []
    token = attach(stored)
    try:
        with _spanned(name, links=links):
            yield
    finally:
        detach(token)


@contextmanager
def calling(name: str, attributes: Mapping[str, AttributeValue]) -> Generator[trace.Span]:
    """A span around a call to the outside, by another protocol than gRPC. An error that leaves it is recorded."""
    with _spanned(name, kind=SpanKind.CLIENT, attributes=attributes) as span:
        yield span


@contextmanager
def _spanned(name: str, **options: Any) -> Generator[trace.Span]:
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False, **options) as span:
        try:
            yield span
        except Refusal as no:
            refused(span, no)
            raise
        except asyncio.CancelledError:
            span.add_event("cancelled")
            raise
        except Exception as error:
            span.record_exception(error)
            failed(span, type(error).__name__, str(error))
            raise


def refused(span: trace.Span, refusal: Refusal) -> None:
    """Tell of a refusal, which is an answer and no failure."""
    span.add_event("refused", {"ensemble.refusal": refusal.reason})


def failed(span: trace.Span, kind: str, description: str | None = None) -> None:
    """Mark it as failed. `kind` is one of a few known words, or the name of an exception."""
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, description)


@contextmanager
def story(**words: str) -> Generator[None]:
    """Write these words on every span that begins while open, and below it, in all processes. `__` stands for `.`."""
    context = get_current()
    for key, value in attributes(**words).items():
        context = baggage.set_baggage(key, value, context)
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def mark(**words: str) -> None:
    """Write these words on the current span, which began before they were known."""
    trace.get_current_span().set_attributes(attributes(**words))


def attributes(**words: str) -> dict[str, str]:
    """Names of attributes, as Python can write them: `__` stands for `.`."""
    return {key.replace("__", "."): value for key, value in words.items()}


def trace_id() -> str | None:
    """The current trace's id in hex, if there is a trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
