"""What came of an action, and the entries that one append records of it: the outcome and the intents that follow."""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.log import Action, Do, End, Entry, Kind, Position, Rest, Undo, advance
from orchestrator.saga import AnySaga


@dataclass(frozen=True)
class Outcome:
    """What is to be recorded of an action, known by its path; or of the saga, which has none."""

    kind: Kind
    path: str = ""
    run: int = 1
    payload: bytes = b""
    reason: str = ""
    message: str = ""


def answered(action: Do | Undo, payload: bytes) -> Outcome:
    """The participant said yes."""
    if isinstance(action, Undo):
        return Outcome(Kind.UNDO_SUCCEEDED, action.path, action.run)
    return Outcome(Kind.STEP_SUCCEEDED, action.path, action.run, payload)


def refused(position: Position, action: Do | Undo, reason: str, message: str) -> Outcome | None:
    """The participant said no. None where that is known already."""
    if isinstance(action, Undo) and action.step.pivot:
        return Outcome(Kind.PIVOT_HELD, action.path, action.run, reason=reason, message=message)
    if action.step.name in position.stuck:
        return None
    kind = Kind.UNDO_STUCK if isinstance(action, Undo) else Kind.STEP_REFUSED
    return Outcome(kind, action.path, action.run, reason=reason, message=message)


def unanswered(action: Do | Undo, reason: str, message: str) -> Outcome:
    """Nobody said anything for as long as is waited: a step is unknown, an undo is stuck."""
    kind = Kind.UNDO_STUCK if isinstance(action, Undo) else Kind.STEP_UNKNOWN
    return Outcome(kind, action.path, action.run, reason=reason, message=message)


def rested(action: Rest) -> Outcome:
    """The sleep is over."""
    return Outcome(Kind.SLEEP_ENDED, action.path, action.run)


def adopted(former: str) -> Outcome:
    """The saga was taken over from a replica that is gone."""
    return Outcome(Kind.ADOPTED, message=f"from replica {former}")


def opening(saga: AnySaga) -> tuple[Entry, ...]:
    """The entries that start a saga: it is accepted, and its first steps about to be called."""
    return recorded(Position(saga), 1, Outcome(Kind.STARTED), None)[0]


def recorded(
    position: Position, epoch: int, outcome: Outcome | None, cancel: str | None
) -> tuple[tuple[Entry, ...], Position]:
    """The entries of one append, and where the saga stands after it: the outcome, if there is one; the cancel, if
    one was asked with the reason `cancel` and can still be heeded; the intents of all that is next.
    """
    position, came = _written(position, epoch, [] if outcome is None else [outcome])
    position, heeded = _written(position, epoch, _heeded(position, cancel))
    position, intents = _written(position, epoch, _intents(position))
    return (*came, *heeded, *intents), position


def _written(position: Position, epoch: int, outcomes: Iterable[Outcome]) -> tuple[Position, list[Entry]]:
    entries: list[Entry] = []
    for one in outcomes:
        sequence = position.sequence + 1
        entry = Entry(sequence, one.run, one.path, one.kind, one.payload, one.reason, one.message, epoch)
        position = advance(position, entry)
        entries.append(entry)
    return position, entries


def _heeded(position: Position, cancel: str | None) -> list[Outcome]:
    return [] if cancel is None or not position.cancellable else [Outcome(Kind.CANCELLED, reason=cancel)]


def _intents(position: Position) -> list[Outcome]:
    return [Outcome(_INTENTS[type(each)], each.path, each.run) for each in position.next if not each.announced]


_INTENTS: dict[type[Action], Kind] = {
    Do: Kind.STEP_STARTED,
    Rest: Kind.SLEEP_STARTED,
    Undo: Kind.UNDO_STARTED,
    End: Kind.ENDED,
}
