"""How long the engine tries, and how it spaces its attempts."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from ensemble.mesh.v1 import command_pb2

from orchestrator.log import Do, Position


@dataclass(frozen=True)
class Patience:
    """All times in seconds. Waits double from `first_s` to the cap, each shortened by up to half at random."""

    budget_s: float = 30.0
    """How long a step is repeated whose contract says RETRY_LIMITED."""
    first_s: float = 0.1
    limited_cap_s: float = 2.0
    endless_cap_s: float = 10.0
    """For undos and for steps that are repeated until they are answered."""
    stuck_after: int = 10
    """Attempts of an undo after which the saga is STUCK."""
    chance: random.Random = field(default_factory=random.Random)

    def waits(self, position: Position) -> Iterator[float]:
        """How long to wait after each attempt."""
        cap = self.limited_cap_s if _limited(position) else self.endless_cap_s
        wait = cap if position.stuck else self.first_s
        while True:
            yield self.chance.uniform(wait / 2, wait)
            wait = min(wait * 2, cap)

    def is_over(self, position: Position, attempts: int, elapsed_s: float) -> bool:
        """Whether to give up on an answer for what is next."""
        if not isinstance(position.next, Do):
            return attempts >= self.stuck_after and not position.stuck
        if not _limited(position):
            return False
        return position.next.step.does.retry == command_pb2.RETRY_UNSPECIFIED or elapsed_s >= self.budget_s


def _limited(position: Position) -> bool:
    """Whether an outcome may stay unknown: never after the pivot, and never of an undo."""
    if position.past_pivot or not isinstance(position.next, Do):
        return False
    return position.next.step.does.retry != command_pb2.RETRY_UNTIL_ANSWERED
