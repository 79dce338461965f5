"""What came of a call, and the entries that one append records of it: the outcome and the intent that follows."""

from dataclasses import dataclass

from orchestrator.log import Do, End, Entry, Kind, Position, Undo, advance
from orchestrator.saga import AnySaga


@dataclass(frozen=True)
class Outcome:
    """What came of a step or an undo, or a cancel that is heeded."""

    kind: Kind
    payload: bytes = b""
    reason: str = ""
    message: str = ""


def answered(position: Position, payload: bytes) -> Outcome:
    """The participant said yes."""
    if isinstance(position.next, Undo):
        return Outcome(Kind.UNDO_SUCCEEDED)
    return Outcome(Kind.STEP_SUCCEEDED, payload)


def refused(position: Position, reason: str, message: str) -> Outcome | None:
    """The participant said no. None where that is known already."""
    if isinstance(position.next, Undo) and position.next.step.pivot:
        return Outcome(Kind.PIVOT_HELD, reason=reason, message=message)
    if position.stuck:
        return None
    kind = Kind.UNDO_STUCK if isinstance(position.next, Undo) else Kind.STEP_REFUSED
    return Outcome(kind, reason=reason, message=message)


def unanswered(position: Position, reason: str, message: str) -> Outcome:
    """Nobody said anything for as long as is waited: a step is unknown, an undo is stuck."""
    kind = Kind.UNDO_STUCK if isinstance(position.next, Undo) else Kind.STEP_UNKNOWN
    return Outcome(kind, reason=reason, message=message)


def opening(saga: AnySaga) -> tuple[Entry, ...]:
    """The entries that start a saga: it is accepted, and its first step about to be called."""
    return recorded(Position(saga), 1, Outcome(Kind.STARTED), None)[0]


def recorded(
    position: Position, epoch: int, outcome: Outcome | None, cancel: str | None
) -> tuple[tuple[Entry, ...], Position]:
    """The entries of one append, and where the saga stands after it: the outcome, if there is one; the cancel, if
    one was asked with the reason `cancel` and can still be heeded; the intent of what is next.
    """
    position, came = _written(position, epoch, outcome)
    position, heeded = _written(position, epoch, _heeded(position, cancel))
    position, intent = _written(position, epoch, _intent(position))
    return (*came, *heeded, *intent), position


def _written(position: Position, epoch: int, what: Outcome | None) -> tuple[Position, tuple[Entry, ...]]:
    if what is None:
        return position, ()
    path, run = _address(position, what.kind)
    entry = Entry(position.sequence + 1, run, path, what.kind, what.payload, what.reason, what.message, epoch)
    return advance(position, entry), (entry,)


def _address(position: Position, kind: Kind) -> tuple[str, int]:
    """Path and run of the step that the entry is about; no path where it is about the saga."""
    if isinstance(position.next, (Do, Undo)) and kind is not Kind.CANCELLED:
        return position.next.step.name, position.next.run
    return "", 1


def _heeded(position: Position, cancel: str | None) -> Outcome | None:
    if cancel is None or not position.cancellable:
        return None
    return Outcome(Kind.CANCELLED, reason=cancel)


def _intent(position: Position) -> Outcome | None:
    match position.next:
        case Do(announced=False):
            return Outcome(Kind.STEP_STARTED)
        case Undo(announced=False):
            return Outcome(Kind.UNDO_STARTED)
        case End(announced=False):
            return Outcome(Kind.ENDED)
        case _:
            return None
