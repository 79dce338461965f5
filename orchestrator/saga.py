"""A saga: a workflow's blocks under one name, checked against the contracts of the methods they call.

How a step is taken back, how long an attempt may take and whether it is repeated stand in the contract of its RPC
(`ensemble.mesh.v1.command`), not here.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic

from ensemble.mesh.v1 import command_pb2

from mesh import contract
from orchestrator import blocks
from orchestrator.blocks import AnyStep, Block, I, Leaf, Parallel, Sequence, Sleep, Step, method_descriptor


class BadSaga(ValueError):
    """A saga's declaration contradicts itself or the contracts of its methods."""


@dataclass(frozen=True)
class Saga(Generic[I]):
    """A workflow: blocks that are done in turn; or undone, last begun first. Raises BadSaga, naming what is wrong."""

    name: str
    input: type[I]
    key: str
    """The field of the input that is the saga's id: nobody runs a saga about somebody else's thing."""
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        for fault in _faults(self):
            raise BadSaga(f"saga {self.name}: {fault}")

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the order of events could: running sagas keep the definition they were started with."""
        lines = [line for block in self.blocks for line in _lines(block)]
        return hashlib.sha256("\n".join([self.name, self.input.DESCRIPTOR.full_name, *lines]).encode()).hexdigest()[:16]

    @cached_property
    def leaves(self) -> Mapping[str, Leaf]:
        """Its steps and sleeps by path, in the order of their declaration."""
        return {path: leaf for block in self.blocks for path, leaf in blocks.leaves(block)}

    @cached_property
    def paths(self) -> Mapping[str, str]:
        """The path of each step and sleep, by its name."""
        return {leaf.name: path for path, leaf in self.leaves.items()}

    @cached_property
    def steps(self) -> tuple[AnyStep, ...]:
        """Its steps, in the order of their declaration."""
        return tuple(leaf for leaf in self.leaves.values() if isinstance(leaf, Step))

    def next(self, done: AbstractSet[str]) -> tuple[Leaf, ...]:
        """What comes next where the steps and sleeps of these names are done; nothing at the end."""
        return blocks.frontier(self._whole, done)

    @cached_property
    def _whole(self) -> Sequence:
        return Sequence("", self.blocks)


AnySaga = Saga[Any]

_NAME = re.compile("[a-z][a-z0-9_]{0,62}")
LONGEST_PATH = 100
"""Characters: a path is part of request ids."""


def _lines(block: Block, indent: str = "") -> Iterator[str]:
    match block:
        case Step():
            yield f"{indent}{block.name} {block.method} {block.does.undo} {block.pivot} {block.optional}"
        case Sleep():
            yield f"{indent}{block.name} {block.seconds}"
        case Sequence(blocks=below) | Parallel(branches=below):
            yield f"{indent}{type(block).__name__} {block.name}"
            for each in below:
                yield from _lines(each, f"{indent} ")


def _faults(saga: AnySaga) -> Iterator[str]:
    if saga.key not in saga.input.DESCRIPTOR.fields_by_name:
        yield f"its input {saga.input.DESCRIPTOR.full_name} has no field {saga.key}"
    leaves = [found for block in saga.blocks for found in blocks.leaves(block)]
    if not leaves:
        yield "has no steps"
    yield from _name_faults([path for path, _ in leaves])
    yield from _pivot_faults(saga)
    past_pivot = False
    for _, leaf in leaves:
        if isinstance(leaf, Sleep):
            if leaf.seconds <= 0:
                yield f"sleep {leaf.name}: {leaf.seconds} seconds is no time"
            continue
        yield from (f"step {leaf.name}: {fault}" for fault in _step_faults(leaf, past_pivot=past_pivot))
        past_pivot = past_pivot or leaf.pivot


def _name_faults(paths: list[str]) -> Iterator[str]:
    for path in paths:
        yield from (f"{name!r} is no name: it is part of ids" for name in path.split("/") if not _NAME.fullmatch(name))
        if len(path) > LONGEST_PATH:
            yield f"the path {path} has more than {LONGEST_PATH} characters"
    names = [path.rpartition("/")[2] for path in paths]
    yield from (f"two steps are called {name}" for name in sorted(set(names)) if names.count(name) > 1)


def _pivot_faults(saga: AnySaga) -> Iterator[str]:
    pivots = [path for path, leaf in saga.leaves.items() if isinstance(leaf, Step) and leaf.pivot]
    if len(pivots) > 1:
        yield f"has {len(pivots)} pivots: {', '.join(pivots)}"
    yield from (
        f"pivot {path} stands in a block: nothing else may be under way at a pivot" for path in pivots if "/" in path
    )


def _step_faults(step: AnyStep, *, past_pivot: bool) -> Iterator[str]:
    try:
        does = step.does
    except KeyError:
        yield f"there is no method {step.method}; is its module imported?"
        return
    answers = method_descriptor(does).output_type.full_name
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
    if not method.read_only and "request_id" not in method_descriptor(method).input_type.fields_by_name:
        yield f"{method.path[1:]} changes something, but its request has no request_id: a repeat would do it twice"
