"""The log is the truth: entries are folded, one by one, into a position, which says what is next.

Everything here is pure. Each entry is legal in one situation only; anything else raises IllegalLog, because a log
that makes no sense must stop the saga before it does harm.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from functools import reduce

from orchestrator.saga import AnySaga, AnyStep, Cause, Failure


class IllegalLog(Exception):
    """An entry came where it cannot."""


class State(Enum):
    """Where a saga stands."""

    RUNNING = "RUNNING"
    UNWINDING = "UNWINDING"
    SUCCEEDED = "SUCCEEDED"
    UNWOUND = "UNWOUND"
    STUCK = "STUCK"
    """An operator is needed; it goes on being tried."""


FINAL = frozenset({State.SUCCEEDED, State.UNWOUND})


class Kind(Enum):
    """What an entry records."""

    STARTED = "STARTED"
    STEP_STARTED = "STEP_STARTED"
    STEP_SUCCEEDED = "STEP_SUCCEEDED"
    STEP_REFUSED = "STEP_REFUSED"
    STEP_UNKNOWN = "STEP_UNKNOWN"
    CANCELLED = "CANCELLED"
    UNDO_STARTED = "UNDO_STARTED"
    UNDO_SUCCEEDED = "UNDO_SUCCEEDED"
    PIVOT_HELD = "PIVOT_HELD"
    UNDO_STUCK = "UNDO_STUCK"
    ENDED = "ENDED"


@dataclass(frozen=True)
class Entry:
    """One line of a saga's log."""

    sequence: int
    run: int
    path: str
    kind: Kind
    payload: bytes = b""
    reason: str = ""
    message: str = ""
    epoch: int = 1
    at: datetime | None = None
    """When it was stored, by the store's clock."""


@dataclass(frozen=True)
class Do:
    """Call the step. `announced`: the intent is in the log, so it may have been called already."""

    step: AnyStep
    announced: bool = False
    run: int = 1


@dataclass(frozen=True)
class Undo:
    """Take the step back. `announced` as above."""

    step: AnyStep
    announced: bool = False
    run: int = 1


@dataclass(frozen=True)
class End:
    """Nothing more to do. `announced`: the saga is over."""

    state: State
    announced: bool = False


@dataclass(frozen=True)
class Position:
    """How far a saga has come."""

    saga: AnySaga
    next: Do | Undo | End | None = None
    """None: not even started."""
    sequence: int = 0
    answers: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """What each step answered, by path."""
    to_undo: tuple[AnyStep, ...] = ()
    """Steps that ran or may have run, oldest first."""
    failure: Failure | None = None
    """Why it unwinds."""
    past_pivot: bool = False
    stuck: bool = False

    @property
    def state(self) -> State:
        """Where the saga stands, as people see it."""
        if isinstance(self.next, End) and self.next.announced:
            return self.next.state
        if self.stuck:
            return State.STUCK
        return State.RUNNING if self.failure is None else State.UNWINDING

    @property
    def ended(self) -> bool:
        """Whether the saga is over."""
        return self.state in FINAL

    @property
    def cancellable(self) -> bool:
        """Whether a cancel can be heeded here: going forward, and the pivot has not happened for all we know."""
        return isinstance(self.next, Do) and not self.past_pivot


def fold(saga: AnySaga, entries: Iterable[Entry]) -> Position:
    """Where `saga` stands after `entries`. Raises IllegalLog."""
    return reduce(advance, entries, Position(saga))


def advance(position: Position, entry: Entry) -> Position:
    """Where a saga stands after one more entry. Raises IllegalLog."""
    action, announced, move = _LEGAL[entry.kind]
    following = position.next
    legal = entry.sequence == position.sequence + 1 and isinstance(following, action)
    if announced is not None:
        legal = legal and following is not None and following.announced == announced
    if isinstance(following, (Do, Undo)) and entry.kind is not Kind.CANCELLED:
        legal = legal and (entry.path, entry.run) == (following.step.name, following.run)
    if not legal:
        raise IllegalLog(f"{entry.kind.name} {entry.path} as number {entry.sequence} where next is {following}")
    return replace(move(position, entry), sequence=entry.sequence)


def _started(position: Position, _: Entry) -> Position:
    return replace(position, next=Do(position.saga.steps[0]))


def _announced(position: Position, _: Entry) -> Position:
    following = position.next
    if isinstance(following, Do) and following.step.undo is not None:
        position = replace(position, to_undo=(*position.to_undo, following.step))
    return replace(position, next=following and replace(following, announced=True))


def _step_succeeded(position: Position, entry: Entry) -> Position:
    step = _step(position)
    answers = {**position.answers, entry.path: entry.payload}
    return _forward(replace(position, answers=answers, past_pivot=position.past_pivot or step.pivot))


def _step_refused(position: Position, entry: Entry) -> Position:
    step = _step(position)
    never_ran = replace(position, to_undo=tuple(each for each in position.to_undo if each is not step))
    if step.optional:
        return _forward(never_ran)
    if not position.past_pivot:
        return _unwind(never_ran, Failure(Cause.REFUSED, entry.path, entry.reason, entry.message))
    if position.stuck:
        raise IllegalLog(f"{entry.path} is refused twice after the pivot")
    return replace(position, stuck=True)


def _step_unknown(position: Position, entry: Entry) -> Position:
    if position.past_pivot:
        raise IllegalLog(f"{entry.path} comes after the pivot: it is repeated until it is answered")
    return _unwind(position, Failure(Cause.UNKNOWN, entry.path, entry.reason, entry.message))


def _cancelled(position: Position, entry: Entry) -> Position:
    if position.past_pivot:
        raise IllegalLog("a cancel after the pivot")
    return _unwind(position, Failure(Cause.CANCELLED, "", entry.reason, entry.message))


def _undo_succeeded(position: Position, _: Entry) -> Position:
    return _unwind(replace(position, to_undo=position.to_undo[:-1], stuck=False), position.failure)


def _undo_stuck(position: Position, _: Entry) -> Position:
    if position.stuck:
        raise IllegalLog("it is stuck already")
    return replace(position, stuck=True)


def _pivot_held(position: Position, _: Entry) -> Position:
    step = _step(position)
    if not step.pivot:
        raise IllegalLog(f"{step.name} is no pivot")
    return replace(position, next=Do(step, announced=True), failure=None, past_pivot=True, stuck=False)


def _forward(position: Position) -> Position:
    following = position.saga.after(_step(position))
    return replace(position, next=Do(following) if following else End(State.SUCCEEDED), stuck=False)


def _unwind(position: Position, failure: Failure | None) -> Position:
    following = Undo(position.to_undo[-1]) if position.to_undo else End(State.UNWOUND)
    return replace(position, next=following, failure=failure)


def _step(position: Position) -> AnyStep:
    if isinstance(position.next, (Do, Undo)):
        return position.next.step
    raise IllegalLog(f"no step where next is {position.next}")


_Move = Callable[[Position, Entry], Position]
_LEGAL: dict[Kind, tuple[type[Do | Undo | End | None], bool | None, _Move]] = {
    # kind: what must be next, whether its intent must be in the log, where that leads
    Kind.STARTED: (type(None), None, _started),
    Kind.STEP_STARTED: (Do, False, _announced),
    Kind.STEP_SUCCEEDED: (Do, True, _step_succeeded),
    Kind.STEP_REFUSED: (Do, True, _step_refused),
    Kind.STEP_UNKNOWN: (Do, True, _step_unknown),
    Kind.CANCELLED: (Do, None, _cancelled),
    Kind.UNDO_STARTED: (Undo, False, _announced),
    Kind.UNDO_SUCCEEDED: (Undo, True, _undo_succeeded),
    Kind.PIVOT_HELD: (Undo, True, _pivot_held),
    Kind.UNDO_STUCK: (Undo, True, _undo_stuck),
    Kind.ENDED: (End, False, _announced),
}
