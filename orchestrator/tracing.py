"""One saga is one trace: its context is stored with it, so that every replica that ever runs it adds to the same."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry import context as otel
from opentelemetry import trace

from mesh.telemetry import tracing
from orchestrator.caller import Call
from orchestrator.outcome import Outcome

tracer = trace.get_tracer("ensemble.orchestrator")


def root(saga_id: str, workflow: str) -> dict[str, str]:
    """Begin the saga's part of the current trace; returns the context to store with the saga.

    The span ends at once, so that it is exported even if this process is killed.
    """
    attributes = {"saga.id": saga_id, "saga.workflow": workflow}
    with tracer.start_as_current_span(f"saga {workflow}", attributes=attributes):
        return tracing.inject()


def enter(trace_context: Mapping[str, str]) -> None:
    """Make the saga's stored context that of the current task, for as long as the task lives."""
    otel.attach(tracing.extract(trace_context))


@contextmanager
def step(verb: str, workflow: str, call: Call) -> Generator[trace.Span]:
    """A span around one attempt of `verb` (step or undo). Costs nothing where the saga is not sampled."""
    parent = trace.get_current_span()
    if not parent.get_span_context().trace_flags.sampled:
        yield trace.INVALID_SPAN
        return
    attributes = {
        "saga.id": call.saga_id,
        "saga.workflow": workflow,
        "saga.step": call.path,
        "saga.attempt": call.attempt,
        "saga.epoch": call.epoch,
    }
    with tracer.start_as_current_span(f"{verb} {workflow}/{call.path}", attributes=attributes) as span:
        yield span


def came(span: trace.Span, outcome: Outcome | None) -> None:
    """Say on the attempt's span what came of it."""
    if span.is_recording():
        span.set_attribute("saga.outcome", "NO_ANSWER" if outcome is None else outcome.kind.name)
