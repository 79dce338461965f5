"""What a workflow is made of: steps and sleeps, in sequence or side by side.

Blocks are data, not code that is replayed. Each has a name, and the names from the outside in are its path, by which
the log speaks of it: `dispatch/parcel/create_shipment`.
"""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property
from typing import Any, Generic, TypeAlias, TypeVar, cast

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from mesh import contract

I = TypeVar("I", bound=Message)  # noqa: E741 - a saga's input
A = TypeVar("A", bound=Message)  # a step's answer
A_co = TypeVar("A_co", bound=Message, covariant=True)


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
class Known(Generic[I]):
    """All that a request may be built from."""

    input: I
    answers: Mapping[str, bytes]
    """What each step answered, by its name."""
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
    request: Callable[[Known[I]], Message]
    """Pure; leaves `request_id` to the engine."""
    undo: Callable[[Known[I]], Message] | None = None
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

    def do_request(self, known: Known[I], request_id: str) -> Message:
        """The request that does the step."""
        return _complete(self.request(known), self.does, request_id)

    def undo_request(self, known: Known[I], request_id: str) -> Message:
        """The request that takes the step back."""
        if self.undo is None:
            raise TypeError(f"step {self.name} has no undo")
        return _complete(self.undo(known), self.undoes, request_id)


@dataclass(frozen=True)
class Sleep:
    """A wait that no crash cuts short: while it lasts, the saga is a row and nothing else."""

    name: str
    seconds: float
    """By the store's clock, at the least."""


@dataclass(frozen=True)
class Sequence:
    """Blocks that are done one after the other."""

    name: str
    blocks: tuple["Block", ...]


@dataclass(frozen=True)
class Parallel:
    """Branches that are done side by side. It is done when all of them are.

    Where one fails the others stop where they are; what they had begun may have happened, and is undone.
    """

    name: str
    branches: tuple["Block", ...]


AnyStep: TypeAlias = Step[Any, Message]
Leaf: TypeAlias = AnyStep | Sleep
Block: TypeAlias = Leaf | Sequence | Parallel


def leaves(block: Block, path: str = "") -> Iterator[tuple[str, Leaf]]:
    """The steps and sleeps below `block` with their paths, in the order of their declaration."""
    path = f"{path}/{block.name}".lstrip("/")
    match block:
        case Sequence(blocks=below) | Parallel(branches=below):
            for each in below:
                yield from leaves(each, path)
        case leaf:
            yield path, leaf


def frontier(block: Block, done: AbstractSet[str]) -> tuple[Leaf, ...]:
    """The steps and sleeps that are next, where those named in `done` are done."""
    match block:
        case Sequence(blocks=blocks):
            return next(filter(None, (frontier(each, done) for each in blocks)), ())
        case Parallel(branches=branches):
            return tuple(leaf for each in branches for leaf in frontier(each, done))
        case leaf:
            return () if leaf.name in done else (leaf,)


def method_descriptor(method: contract.Method) -> MethodDescriptor:
    """The descriptor behind a contract."""
    return _descriptor(method.path)


@cache
def _descriptor(path: str) -> MethodDescriptor:
    service, _, name = path[1:].rpartition("/")
    return descriptor_pool.Default().FindMethodByName(f"{service}.{name}")


def _complete(request: Message, method: contract.Method, request_id: str) -> Message:
    declared = method_descriptor(method).input_type
    if request.DESCRIPTOR.full_name != declared.full_name:
        raise TypeError(f"{method.path} takes {declared.full_name}, not {request.DESCRIPTOR.full_name}")
    if "request_id" in declared.fields_by_name:
        cast(Any, request).request_id = request_id
    return request
