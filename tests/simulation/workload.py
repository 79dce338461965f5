"""What clients want in a story, drawn from the seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from shop.workflow.v1.place_order_pb2 import PlaceOrder

from orchestrator.blocks import Block, Parallel, Sequence, Sleep
from orchestrator.saga import AnySaga
from tests.unit.orchestrator.workflows import WORKFLOWS as DECLARED

MOST = 3
STARTS_S = 5.0
"""The last saga is started by then, seconds."""
CANCELLED = 0.25
CANCELS_S = 3.0
"""How often a saga is cancelled, and so many seconds after it was accepted at the latest."""
REFUSED = 0.05
"""How often a step is refused that may be."""
SLEEP_S = 2.5
"""The longest sleep: long enough for nobody to own the saga meanwhile."""

Place = tuple[str, str]
"""A step of a saga: the saga's id, and the step's path."""


@dataclass(frozen=True)
class Wish:
    """One saga that a client wants."""

    saga: AnySaga
    saga_id: str
    starts_s: float
    cancels_s: float | None
    """So long after it was accepted, if ever; seconds."""
    refused: frozenset[Place]
    """What participants say no to."""

    @property
    def input(self) -> PlaceOrder:
        return PlaceOrder(order_id=self.saga_id)


def hastened(block: Block) -> Block:
    """The same, with sleeps that end within a story."""
    match block:
        case Sleep(seconds=seconds):
            return replace(block, seconds=min(seconds, SLEEP_S))
        case Sequence(blocks=below):
            return replace(block, blocks=tuple(map(hastened, below)))
        case Parallel(branches=below):
            return replace(block, branches=tuple(map(hastened, below)))
        case step:
            return step


WORKFLOWS = tuple(replace(saga, blocks=tuple(map(hastened, saga.blocks))) for saga in DECLARED)
SERVICES = tuple(dict.fromkeys(step.does.service for saga in WORKFLOWS for step in saga.steps))


def drawn(chance: random.Random) -> Iterator[Wish]:
    """Some wishes."""
    for number in range(1, chance.randint(1, MOST) + 1):
        saga = chance.choice(WORKFLOWS)
        saga_id = f"saga-{number}"
        cancels_s = chance.uniform(0.0, CANCELS_S) if chance.random() < CANCELLED else None
        refused = frozenset((saga_id, path) for path in refusable(saga) if chance.random() < REFUSED)
        yield Wish(saga, saga_id, chance.uniform(0.0, STARTS_S), cancels_s, refused)


def refusable(saga: AnySaga) -> Iterator[str]:
    """The paths of steps that may be refused: one after the pivot would be tried without end."""
    past_pivot = False
    for step in saga.steps:
        if step.optional or not past_pivot:
            yield saga.paths[step.name]
        past_pivot = past_pivot or step.pivot
