"""Structured logs: JSON lines for machines, readable lines on a terminal."""

import logging
import sys

import structlog
from opentelemetry import baggage, trace
from structlog.typing import EventDict, WrappedLogger


def configure(level: str, style: str = "auto") -> None:
    """Send everything, the standard library's records included, to stdout in one shape."""
    on_terminal = style == "console" or (style == "auto" and sys.stdout.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
    ]
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if on_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(),  # not by way of the standard library, which costs twice as much
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[meta, *render]))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("nats").setLevel(logging.ERROR)


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The trace, and the words of the story that travel with it as baggage."""
    event.update({word: value for word, value in baggage.get_all().items() if word not in event})
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event
