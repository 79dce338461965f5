"""Tracing: the W3C context that travels through gRPC, the outbox and NATS, and the words of a story.

What all spans of one story share (an order's id, a mode) travels as baggage and is written on each of them, so no
code on the way needs to know these words.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor


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


@contextmanager
def continued(headers: Mapping[str, str]) -> Generator[None]:
    """Go on, while open, in the trace that `headers` carry: for what was stored and is taken up again later."""
    token = attach(extract(headers))
    try:
        yield
    finally:
        detach(token)


@contextmanager
def story(**entries: str) -> Generator[None]:
    """Write these words on the current span and on every span below it, in all processes. `__` stands for `.`."""
    words = {key.replace("__", "."): value for key, value in entries.items()}
    trace.get_current_span().set_attributes(words)
    context = get_current()
    for key, value in words.items():
        context = baggage.set_baggage(key, value, context)
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def trace_id() -> str | None:
    """The current trace's id in hex, if there is a trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
