"""One saga is one trace: its context is stored with it, so that every replica that ever runs it adds to the same.

Its id is the trace's word `saga.id`, and so on every span from here on, those of participants included.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from mesh.telemetry import tracing
from orchestrator.blocks import Failure
from orchestrator.caller import Call, NoAnswer
from orchestrator.log import Kind, State
from orchestrator.outcome import Outcome
from orchestrator.store import Append

tracer = trace.get_tracer("ensemble.orchestrator")

FAILED = {Kind.STEP_REFUSED, Kind.STEP_UNKNOWN, Kind.UNDO_STUCK}
"""What shows as an error: it turns the saga back, or holds it up."""


@contextmanager
def started(saga_id: str, workflow: str) -> Generator[Span]:
    """The span that the saga's others hang from. It is ended by who knows that the saga is new, and else never told.

    At once: so it is exported even if this process is killed before the saga is over.
    """
    span = tracer.start_span(f"saga {workflow}", attributes={"saga.id": saga_id, "saga.workflow": workflow})
    with trace.use_span(span), tracing.story(saga__id=saga_id):
        yield span


def enter(trace_context: Mapping[str, str]) -> None:
    """Make the saga's stored context that of the current task, for as long as the task lives."""
    otel.attach(tracing.extract(trace_context))


@contextmanager
def step(verb: str, workflow: str, call: Call) -> Generator[Span]:
    """A span around one attempt of `verb` (step or undo). Costs nothing where the saga is not sampled."""
    if not trace.get_current_span().get_span_context().trace_flags.sampled:
        yield trace.INVALID_SPAN
        return
    attributes = {
        "saga.workflow": workflow,
        "saga.step": call.path,
        "saga.attempt": call.attempt,
        "saga.epoch": call.epoch,
    }
    with tracer.start_as_current_span(f"{verb} {workflow}/{call.path}", attributes=attributes) as span:
        yield span


def silent(silence: NoAnswer) -> None:
    """Say on the attempt's span why nobody knows what came of it."""
    tracing.failed(trace.get_current_span(), silence.code, silence.message)


def came(span: Span, outcome: Outcome | None) -> None:
    """Say on the attempt's span what came of it. None: it has to be repeated."""
    if not span.is_recording():
        return
    span.set_attribute("saga.outcome", "NO_ANSWER" if outcome is None else outcome.kind.name)
    if outcome is not None and outcome.kind in FAILED:
        tracing.failed(span, outcome.reason, outcome.message)


@contextmanager
def appending(workflow: str, append: Append, failure: Failure | None) -> Generator[None]:
    """A span around an append to the saga's log, until it is committed. What only the log tells of, is its name."""
    if not trace.get_current_span().get_span_context().trace_flags.sampled:
        yield
        return
    attributes: dict[str, AttributeValue] = {
        "saga.workflow": workflow,
        "saga.state": append.state.value,
        "saga.entries": [f"{entry.kind.name} {entry.path}".rstrip() for entry in append.entries],
        "saga.epoch": append.epoch,
    }
    if failure is not None:
        attributes["saga.failure"] = failure.reason
    with tracer.start_as_current_span(_name(workflow, append), attributes=attributes) as span:
        if append.cancel_heard and append.state is State.SUCCEEDED:
            span.add_event("cancelled too late")
        yield


def _name(workflow: str, append: Append) -> str:
    kinds = {entry.kind for entry in append.entries}
    if Kind.ENDED in kinds:
        return f"end {workflow} {append.state.value}"
    if Kind.CANCELLED in kinds:
        return f"cancel {workflow}"
    if Kind.ADOPTED in kinds:
        return f"adopt {workflow}"
    return f"append {workflow}" if kinds else f"park {workflow}"
