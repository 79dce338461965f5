"""The log is the truth: entries are folded, one by one, into a position, which says what is next.

Everything here is pure. An entry that makes no sense where it stands raises IllegalLog, because such a log must stop
the saga before it does harm.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from functools import cached_property, reduce
from typing import Any, TypeAlias

from orchestrator.blocks import AnyStep, Cause, Failure, Leaf, Sleep, Step
from orchestrator.saga import AnySaga


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
    SLEEP_STARTED = "SLEEP_STARTED"
    SLEEP_ENDED = "SLEEP_ENDED"
    CANCELLED = "CANCELLED"
    ADOPTED = "ADOPTED"
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
    """Which run of the path: 1, until something can run again."""
    path: str
    kind: Kind
    payload: bytes = b""
    reason: str = ""
    message: str = ""
    epoch: int = 1
    at: datetime | None = None
    """When it was stored, by the store's clock."""


@dataclass(frozen=True)
class Begin:
    """Nothing has been done yet, not even started."""

    path: str = ""
    run: int = 1
    announced: bool = False


@dataclass(frozen=True)
class _Announced:
    """What is announced by an entry before it is begun."""

    path: str
    announced: bool = False
    """The intent is in the log, so it may have been begun already."""
    since: datetime | None = None
    """When it was announced, by the store's clock."""
    run: int = 1


@dataclass(frozen=True, kw_only=True)
class Do(_Announced):
    """Call the step."""

    step: AnyStep


@dataclass(frozen=True, kw_only=True)
class Undo(_Announced):
    """Take the step back."""

    step: AnyStep


@dataclass(frozen=True, kw_only=True)
class Rest(_Announced):
    """Wait until the sleep is over."""

    sleep: Sleep


@dataclass(frozen=True)
class End:
    """Nothing more to do. `announced`: the saga is over."""

    state: State
    announced: bool = False
    path: str = ""
    run: int = 1


Action: TypeAlias = Begin | Do | Rest | Undo | End
Times: TypeAlias = Mapping[str, datetime | None]
"""When each step or sleep was announced, by its name."""


@dataclass(frozen=True)
class Position:
    """How far a saga has come. Steps and sleeps are known by their names."""

    saga: AnySaga
    sequence: int = 0
    begun: Times = field(default_factory=dict[str, datetime | None])
    """Whose intent is in the log."""
    done: frozenset[str] = frozenset()
    """What need not be done any more."""
    answers: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    to_undo: tuple[AnyStep, ...] = ()
    """Steps that ran or may have run, in the order of their beginning."""
    undos_begun: Times = field(default_factory=dict[str, datetime | None])
    failure: Failure | None = None
    """Why it unwinds."""
    past_pivot: bool = False
    stuck: frozenset[str] = frozenset()
    ended: bool = False

    @cached_property
    def next(self) -> tuple[Action, ...]:
        """What can be done now: one thing, or several where branches run side by side."""
        if self.sequence == 0:
            return (Begin(),)
        if self.failure is not None:
            return (self._undo(self.to_undo[-1]) if self.to_undo else End(State.UNWOUND, self.ended),)
        return tuple(map(self._do, self.saga.next(self.done))) or (End(State.SUCCEEDED, self.ended),)

    @property
    def state(self) -> State:
        """Where the saga stands, as people see it."""
        if self.ended:
            return State.SUCCEEDED if self.failure is None else State.UNWOUND
        if self.stuck:
            return State.STUCK
        return State.RUNNING if self.failure is None else State.UNWINDING

    @property
    def cancellable(self) -> bool:
        """Whether a cancel can be heeded here: going forward, and the pivot has not happened for all we know."""
        return self.failure is None and not self.past_pivot and isinstance(self.next[0], (Do, Rest))

    def stored(self, at: datetime) -> "Position":
        """The same, knowing when the latest intents were stored."""
        return replace(self, begun=_stamped(self.begun, at), undos_begun=_stamped(self.undos_begun, at))

    def _do(self, leaf: Leaf) -> Do | Rest:
        name, path = leaf.name, self.saga.paths[leaf.name]
        announced, since = name in self.begun, self.begun.get(name)
        if isinstance(leaf, Step):
            return Do(path, announced, since, step=leaf)
        return Rest(path, announced, since, sleep=leaf)

    def _undo(self, step: AnyStep) -> Undo:
        name = step.name
        return Undo(self.saga.paths[name], name in self.undos_begun, self.undos_begun.get(name), step=step)


def _stamped(times: Times, at: datetime) -> Times:
    return {name: since or at for name, since in times.items()}


def fold(saga: AnySaga, entries: Iterable[Entry]) -> Position:
    """Where `saga` stands after `entries`. Raises IllegalLog."""
    return reduce(advance, entries, Position(saga))


def advance(position: Position, entry: Entry) -> Position:
    """Where a saga stands after one more entry. Raises IllegalLog."""
    action = _meant(position, entry)
    if action is None or entry.sequence != position.sequence + 1:
        where = f"number {entry.sequence} where next are {position.sequence + 1} and {position.next}"
        raise IllegalLog(f"{entry.kind.name} {entry.path} run {entry.run} as {where}")
    return replace(position, sequence=entry.sequence, **_changes(position, action, entry))


def _meant(position: Position, entry: Entry) -> Any:
    """What the entry is about, if it may be: an action that is next, or the saga, which is going on."""
    if entry.kind is Kind.CANCELLED:
        return position.saga if position.cancellable else None
    if entry.kind is Kind.ADOPTED:
        return position.saga if position.sequence > 0 and not position.ended else None
    wanted, announced, _ = _LEGAL[entry.kind]
    for action in position.next:
        if isinstance(action, wanted) and (action.path, action.run) == (entry.path, entry.run):
            return action if action.announced == announced else None
    return None


Changes: TypeAlias = dict[str, Any]


def _changes(position: Position, action: Any, entry: Entry) -> Changes:
    if entry.kind is Kind.CANCELLED:
        return {"failure": _failure(Cause.CANCELLED, entry)}
    return {} if entry.kind is Kind.ADOPTED else _LEGAL[entry.kind][2](position, action, entry)


def _started(_position: Position, _action: Begin, _entry: Entry) -> Changes:
    return {}


def _step_announced(position: Position, action: Do, entry: Entry) -> Changes:
    begun = {**position.begun, action.step.name: entry.at}
    if action.step.undo is None:
        return {"begun": begun}
    return {"begun": begun, "to_undo": (*position.to_undo, action.step)}


def _step_succeeded(position: Position, action: Do, entry: Entry) -> Changes:
    step = action.step
    return {
        "answers": {**position.answers, step.name: entry.payload},
        "done": position.done | {step.name},
        "past_pivot": position.past_pivot or step.pivot,
        "stuck": position.stuck - {step.name},
    }


def _step_refused(position: Position, action: Do, entry: Entry) -> Changes:
    step = action.step
    never_ran = tuple(each for each in position.to_undo if each is not step)
    if step.optional:
        return {"to_undo": never_ran, "done": position.done | {step.name}}
    if not position.past_pivot:
        return {"to_undo": never_ran, "failure": _failure(Cause.REFUSED, entry)}
    return {"stuck": _newly_stuck(position, step)}


def _step_unknown(position: Position, _action: Do, entry: Entry) -> Changes:
    if position.past_pivot:
        raise IllegalLog(f"{entry.path} comes after the pivot: it is repeated until it is answered")
    return {"failure": _failure(Cause.UNKNOWN, entry)}


def _sleep_announced(position: Position, action: Rest, entry: Entry) -> Changes:
    return {"begun": {**position.begun, action.sleep.name: entry.at}}


def _sleep_ended(position: Position, action: Rest, _entry: Entry) -> Changes:
    return {"done": position.done | {action.sleep.name}}


def _undo_announced(position: Position, action: Undo, entry: Entry) -> Changes:
    return {"undos_begun": {**position.undos_begun, action.step.name: entry.at}}


def _undo_succeeded(position: Position, _action: Undo, _entry: Entry) -> Changes:
    return {"to_undo": position.to_undo[:-1], "stuck": frozenset[str]()}


def _undo_stuck(position: Position, action: Undo, _entry: Entry) -> Changes:
    return {"stuck": _newly_stuck(position, action.step)}


def _pivot_held(_position: Position, action: Undo, _entry: Entry) -> Changes:
    if not action.step.pivot:
        raise IllegalLog(f"{action.step.name} is no pivot")
    return {"failure": None, "past_pivot": True, "stuck": frozenset[str]()}


def _ended(_position: Position, _action: End, _entry: Entry) -> Changes:
    return {"ended": True}


def _newly_stuck(position: Position, step: AnyStep) -> frozenset[str]:
    if step.name in position.stuck:
        raise IllegalLog(f"{step.name} is stuck already")
    return position.stuck | {step.name}


def _failure(cause: Cause, entry: Entry) -> Failure:
    return Failure(cause, entry.path, entry.reason, entry.message)


_LEGAL: dict[Kind, tuple[type[Action], bool, Callable[[Position, Any, Entry], Changes]]] = {
    # kind: which action it is about, whether that is announced by then, what it changes
    Kind.STARTED: (Begin, False, _started),
    Kind.STEP_STARTED: (Do, False, _step_announced),
    Kind.STEP_SUCCEEDED: (Do, True, _step_succeeded),
    Kind.STEP_REFUSED: (Do, True, _step_refused),
    Kind.STEP_UNKNOWN: (Do, True, _step_unknown),
    Kind.SLEEP_STARTED: (Rest, False, _sleep_announced),
    Kind.SLEEP_ENDED: (Rest, True, _sleep_ended),
    Kind.UNDO_STARTED: (Undo, False, _undo_announced),
    Kind.UNDO_SUCCEEDED: (Undo, True, _undo_succeeded),
    Kind.PIVOT_HELD: (Undo, True, _pivot_held),
    Kind.UNDO_STUCK: (Undo, True, _undo_stuck),
    Kind.ENDED: (End, False, _ended),
}
