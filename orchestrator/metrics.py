"""What the orchestrator counts, times and shows of its sagas. No attribute is an id: workflows, steps and states."""

from collections.abc import Collection, Iterable

from opentelemetry import metrics

from mesh.postgres.database import Database
from mesh.telemetry.metrics import STORY_BUCKETS, Gauge, Reading, timed
from orchestrator import statements
from orchestrator.log import Kind
from orchestrator.outcome import Outcome
from orchestrator.store import Append

meter = metrics.get_meter("ensemble.orchestrator")

WORKFLOW = "saga.workflow"
STATE = "saga.state"
BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Bounds of how much is written together; the last is the most."""

_started = meter.create_counter("ensemble.saga.started", "{saga}", "Sagas that were stored for the first time.")
_adopted = meter.create_counter("ensemble.saga.adopted", "{saga}", "Sagas taken over from a replica that is gone.")
_fenced = meter.create_counter("ensemble.saga.fenced", "{append}", "Appends refused: the saga is somebody else's now.")
_duration = timed("ensemble.saga.duration", "From the start of a saga to its end.", STORY_BUCKETS)
_attempt_duration = timed("ensemble.saga.step.duration", "One attempt of a step, or of an undo.")
_batch_duration = timed("ensemble.group_commit.duration", "Writing one batch until it is committed.")
_batch_size = meter.create_histogram(
    "ensemble.group_commit.size", "{item}", "Written together.", explicit_bucket_boundaries_advisory=BATCHES
)

OPEN = Gauge("ensemble.saga.open", "{saga}", "Sagas that have not ended, by state.")
OLDEST = Gauge("ensemble.saga.oldest.age", "s", "How long ago the oldest of them was started; 0 if there is none.")
QUARANTINED = Gauge("ensemble.saga.quarantined", "{saga}", "Those that nobody takes up until they are resumed.")
BLOCKED = Gauge("ensemble.saga.blocked", "{saga}", "Those of a version that is not deployed in this replica.")
GAUGES = (OPEN, OLDEST, QUARANTINED, BLOCKED)


def expect(workflows: Iterable[str]) -> None:
    """Show zero of what may never happen: the first time it does would be no increase otherwise."""
    for workflow in workflows:
        for counter in (_started, _adopted, _fenced):
            counter.add(0, {WORKFLOW: workflow})


def started(workflow: str) -> None:
    """A new saga is stored."""
    _started.add(1, {WORKFLOW: workflow})


def fenced(workflow: str) -> None:
    """An append was refused."""
    _fenced.add(1, {WORKFLOW: workflow})


def appended(workflow: str, append: Append, age_s: float) -> None:
    """A saga's log has grown, when it was so old."""
    kinds = {entry.kind for entry in append.entries}
    if Kind.ADOPTED in kinds:
        _adopted.add(1, {WORKFLOW: workflow})
    if Kind.ENDED in kinds:
        _duration.record(age_s, {WORKFLOW: workflow, STATE: append.state.value})


def attempted(verb: str, workflow: str, step: str, outcome: Outcome | None, seconds: float) -> None:
    """A step was called, or its undo; None: to be repeated."""
    came = "NO_ANSWER" if outcome is None else outcome.kind.value
    _attempt_duration.record(seconds, {WORKFLOW: workflow, "saga.step": step, "saga.verb": verb, "saga.outcome": came})


def committed(what: str, items: int, seconds: float) -> None:
    """So many were written together."""
    _batch_size.record(items, {"ensemble.batch": what})
    _batch_duration.record(seconds, {"ensemble.batch": what})


async def read_open(database: Database, versions: Collection[str]) -> list[Reading]:
    """The gauges of the open sagas; `versions`: fingerprints of those that are deployed here. Raises Outage."""
    async with database.connection() as connection:
        rows = await connection.fetch(statements.OPEN, list(versions))
    readings: list[Reading] = []
    for row in rows:
        state = {STATE: row["state"]}
        readings += [Reading(OPEN, row["count"], state), Reading(OLDEST, row["oldest_s"], state)]
    quarantined = sum(row["quarantined"] for row in rows)
    return [*readings, Reading(QUARANTINED, quarantined), Reading(BLOCKED, sum(row["blocked"] for row in rows))]
