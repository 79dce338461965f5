"""Structured logs: JSON lines for machines, readable lines on a terminal. docs/logs.md says what they hold."""

import logging
import sys
import threading

import structlog
from opentelemetry import baggage, trace
from structlog.typing import EventDict, Processor, WrappedLogger

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.logs")


def configure(level: str = "INFO", style: str = "auto") -> None:
    """Send everything to stdout in one shape: our lines, those of other libraries, and what nobody has caught."""
    on_terminal = style == "console" or (style == "auto" and sys.stdout.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _dotted,
        _add_trace,
    ]
    render: list[Processor] = (
        # The traceback that is its default shows the values of variables, personal data included.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if on_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(),  # not by way of the standard library, which costs twice as much
        cache_logger_on_first_use=True,
    )
    _take_over(level, [structlog.stdlib.add_logger_name, *shared], render)
    sys.excepthook = lambda kind, error, where: log.critical("uncaught", exc_info=(kind, error, where))
    threading.excepthook = lambda args: log.critical("uncaught", exc_info=args.exc_value)
    sys.unraisablehook = lambda args: log.error("unraisable", exc_info=args.exc_value)


def _take_over(level: str, shared: list[Processor], render: list[Processor]) -> None:
    """Have what is logged by way of the standard library look the same, warnings included."""
    handler = logging.StreamHandler(sys.stdout)
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[meta, *render]))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
    for library in ("asyncpg.pool", "nats"):  # what they say of an outage, again and again, we say ourselves
        logging.getLogger(library).setLevel(logging.ERROR)


def _dotted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """In the names of attributes, `__` stands for `.`, as in `tracing.story`."""
    return {name.replace("__", "."): value for name, value in event.items()}


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The trace, and the words of the story that travel with it as baggage."""
    event.update({word: value for word, value in baggage.get_all().items() if word not in event})
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event
