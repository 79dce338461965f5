"""What must hold of each saga when a story is over."""

from collections.abc import Iterator
from itertools import pairwise

from orchestrator.blocks import Sleep, Step
from orchestrator.log import FINAL, IllegalLog, Kind, State, fold
from orchestrator.saga import AnySaga
from orchestrator.store import Record
from tests.simulation.invariants import Effect


def faults(saga: AnySaga, record: Record, effects: list[Effect], *, must_unwind: bool) -> Iterator[str]:
    """What is wrong with a saga, its log and what really happened."""
    if record.state not in FINAL:
        yield f"is {record.state.name} to this day, owned by {record.owner}"
        return
    yield from _log_faults(saga, record)
    yield from _effect_faults(saga, record, effects)
    if must_unwind and record.state is not State.UNWOUND:
        yield "was cancelled before its pivot, and went on"


def _log_faults(saga: AnySaga, record: Record) -> Iterator[str]:
    """The log is legal and gapless, as the fold checks; it ends once; owners followed each other; sleeps lasted."""
    entries = record.entries
    try:
        position = fold(saga, entries)
    except IllegalLog as illegal:
        yield f"has an illegal log: {illegal}"
        return
    if position.state is not record.state:
        yield f"is {record.state.name}, but its log says {position.state.name}"
    if [entry for entry in entries if entry.kind is Kind.ENDED] != [entries[-1]]:
        yield "has not exactly one end"
    if any(later.epoch < earlier.epoch for earlier, later in pairwise(entries)):
        yield f"was written by an earlier owner after a later one: {[entry.epoch for entry in entries]}"
    yield from _sleep_faults(saga, record)


def _sleep_faults(saga: AnySaga, record: Record) -> Iterator[str]:
    times = {(entry.kind, entry.path): entry.at for entry in record.entries}
    for path, leaf in saga.leaves.items():
        began, ended = times.get((Kind.SLEEP_STARTED, path)), times.get((Kind.SLEEP_ENDED, path))
        if isinstance(leaf, Sleep) and began and ended:
            slept_s = (ended - began).total_seconds()
            if slept_s < leaf.seconds:
                yield f"slept {slept_s:.3f} s instead of {leaf.seconds} s at {path}"


def _effect_faults(saga: AnySaga, record: Record, effects: list[Effect]) -> Iterator[str]:
    """All or nothing, and what was done is undone last begun first."""
    steps = {path: step for path, step in saga.leaves.items() if isinstance(step, Step)}
    done = [path for verb, path in effects if verb == "do"]
    undone = [path for verb, path in effects if verb == "undo"]
    if record.state is State.SUCCEEDED:
        missing = [path for path, step in steps.items() if not step.optional and path not in done]
        if missing or undone:
            yield f"SUCCEEDED without {missing}, and with {undone} undone"
        return
    begun = [entry.path for entry in record.entries if entry.kind is Kind.STEP_STARTED]
    expected = [path for path in reversed(begun) if path in done and steps[path].undo is not None]
    if undone != expected:
        yield f"UNWOUND by undoing {undone} instead of {expected}"
