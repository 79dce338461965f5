"""The words a workflow is written in.

A saga is data, not code that is replayed: named steps, each one RPC with a pure function that builds its request
from the input and from earlier answers. How a step is taken back, how long an attempt may take and whether it is
repeated stand in the contract of its RPC (`ensemble.mesh.v1.command`), not here.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property
from typing import Any, Generic, TypeVar, cast

from ensemble.mesh.v1 import command_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from mesh import contract

I = TypeVar("I", bound=Message)  # noqa: E741 - a saga's input
A = TypeVar("A", bound=Message)  # a step's answer
A_co = TypeVar("A_co", bound=Message, covariant=True)


class BadSaga(ValueError):
    """A saga's declaration contradicts itself or the contracts of its methods."""


class Cause(Enum):
    """What sort of thing made a saga unwind."""

    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class Failure:
    """Why a saga unwinds."""

    cause: Cause
    path: str
    """The step that was refused or not answered; empty for a cancel."""
    reason: str
    """UPPER_SNAKE_CASE: of the refusal, of the missing answer, or of who cancelled."""
    message: str


@dataclass(frozen=True)
class Facts(Generic[I]):
    """All that a request may be built from."""

    input: I
    answers: Mapping[str, bytes]
    failure: Failure | None = None
    """Set while unwinding."""

    def answer(self, step: "Step[I, A]") -> A:
        """What `step` answered. Raises LookupError if it has not, or said no.

        An undo must not ask for its own step's answer: it may be called without there being one.
        """
        return step.answer.FromString(self.answers[step.name])


@dataclass(frozen=True)
class Step(Generic[I, A_co]):
    """One RPC of a saga, and how it is taken back."""

    name: str
    method: str
    """`package.Service/Method`"""
    answer: type[A_co]
    request: Callable[[Facts[I]], Message]
    """Pure; leaves `request_id` to the engine."""
    undo: Callable[[Facts[I]], Message] | None = None
    """Builds the request of the method that the contract of `method` names as its undo."""
    pivot: bool = False
    """Once it has happened the saga only goes forward. Its undo is the gate: it is refused if it has happened."""
    optional: bool = False
    """If it is refused, that is recorded and the saga goes on."""

    @cached_property
    def does(self) -> contract.Method:
        """The method's contract."""
        return contract.method(self.method)

    @cached_property
    def undoes(self) -> contract.Method:
        """The contract of the method's undo. Raises LookupError if it has none."""
        return contract.method(self.does.undo or "")

    def do_request(self, facts: Facts[I], request_id: str) -> Message:
        """The request that does the step."""
        return _complete(self.request(facts), self.does, request_id)

    def undo_request(self, facts: Facts[I], request_id: str) -> Message:
        """The request that takes the step back."""
        if self.undo is None:
            raise TypeError(f"step {self.name} has no undo")
        return _complete(self.undo(facts), self.undoes, request_id)


@dataclass(frozen=True)
class Saga(Generic[I]):
    """A workflow: steps that are done in turn, or undone, last first. Raises BadSaga, naming what is wrong."""

    name: str
    input: type[I]
    key: str
    """The field of the input that is the saga's id: nobody runs a saga about somebody else's thing."""
    steps: tuple[Step[I, Message], ...]

    def __post_init__(self) -> None:
        for fault in _faults(self):
            raise BadSaga(f"saga {self.name}: {fault}")

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the order of events could: running sagas keep the definition they were started with."""
        lines = [f"{each.name} {each.method} {each.does.undo} {each.pivot} {each.optional}" for each in self.steps]
        return hashlib.sha256("\n".join([self.name, self.input.DESCRIPTOR.full_name, *lines]).encode()).hexdigest()[:16]

    def after(self, step: Step[I, Message]) -> Step[I, Message] | None:
        """The step that follows, if any."""
        following = self.steps.index(step) + 1
        return self.steps[following] if following < len(self.steps) else None


_NAME = re.compile("[a-z][a-z0-9_]{0,62}")

AnySaga = Saga[Any]
AnyStep = Step[Any, Message]


def _complete(request: Message, method: contract.Method, request_id: str) -> Message:
    declared = _descriptor(method).input_type
    if request.DESCRIPTOR.full_name != declared.full_name:
        raise TypeError(f"{method.path} takes {declared.full_name}, not {request.DESCRIPTOR.full_name}")
    if "request_id" in declared.fields_by_name:
        cast(Any, request).request_id = request_id
    return request


@cache
def _descriptor(method: contract.Method) -> MethodDescriptor:
    service, _, name = method.path[1:].rpartition("/")
    return descriptor_pool.Default().FindMethodByName(f"{service}.{name}")


def _faults(saga: AnySaga) -> Iterator[str]:
    if not saga.steps:
        yield "has no steps"
    if saga.key not in saga.input.DESCRIPTOR.fields_by_name:
        yield f"its input {saga.input.DESCRIPTOR.full_name} has no field {saga.key}"
    names = [step.name for step in saga.steps]
    yield from (f"{name!r} is no name for a step: it is part of ids" for name in names if not _NAME.fullmatch(name))
    yield from (f"two steps are called {name}" for name in sorted(set(names)) if names.count(name) > 1)
    pivots = [step.name for step in saga.steps if step.pivot]
    if len(pivots) > 1:
        yield f"has {len(pivots)} pivots: {', '.join(pivots)}"
    past_pivot = False
    for step in saga.steps:
        yield from (f"step {step.name}: {fault}" for fault in _step_faults(step, past_pivot=past_pivot))
        past_pivot = past_pivot or step.pivot


def _step_faults(step: AnyStep, *, past_pivot: bool) -> Iterator[str]:
    try:
        does = step.does
    except KeyError:
        yield f"there is no method {step.method}; is its module imported?"
        return
    answers = _descriptor(does).output_type.full_name
    if step.answer.DESCRIPTOR.full_name != answers:
        yield f"{step.method} answers {answers}, not {step.answer.DESCRIPTOR.full_name}"
    yield from _method_faults(does)
    if not past_pivot:
        yield from _undo_faults(step)
        return
    if does.retry != command_pb2.RETRY_UNTIL_ANSWERED:
        yield f"it comes after the pivot, so {step.method} must be RETRY_UNTIL_ANSWERED"
    if step.undo is not None:
        yield "it comes after the pivot, where nothing is undone: it takes no undo"


def _undo_faults(step: AnyStep) -> Iterator[str]:
    declared = step.does.undo
    if step.undo is None:
        if declared is not None:
            yield f"its contract names {declared} as its undo, but the step does not say how to ask for it"
        if step.pivot:
            yield "a pivot needs an undo: it is asked where the outcome is unknown"
        return
    if declared is None:
        yield f"it has an undo, but the contract of {step.method} names none"
        return
    try:
        undoes = step.undoes
    except KeyError:
        yield f"there is no method {declared}, which the contract names as its undo"
        return
    yield from _method_faults(undoes)
    if undoes.retry != command_pb2.RETRY_UNTIL_ANSWERED:
        yield f"{declared} is an undo, so it must be RETRY_UNTIL_ANSWERED"


def _method_faults(method: contract.Method) -> Iterator[str]:
    if method.deadline is None:
        yield f"{method.path[1:]} declares no deadline"
    if not method.read_only and "request_id" not in _descriptor(method).input_type.fields_by_name:
        yield f"{method.path[1:]} changes something, but its request has no request_id: a repeat would do it twice"
