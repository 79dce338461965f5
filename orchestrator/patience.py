"""How long the engine tries, and how it spaces its attempts."""

import random
from dataclasses import dataclass, field

from ensemble.mesh.v1 import command_pb2

from orchestrator.log import Do, Position, Undo


@dataclass(frozen=True)
class Patience:
    """All times in seconds. What has been tried for so long is left alone for as long again, up to a cap, shortened
    by up to half at random. So waits double, and whoever adopts a saga need not know how often others have tried.
    """

    budget_s: float = 30.0
    """How long a step is repeated whose contract says RETRY_LIMITED."""
    first_s: float = 0.1
    limited_cap_s: float = 2.0
    endless_cap_s: float = 10.0
    """For undos and for steps that are repeated until they are answered."""
    stuck_after_s: float = 60.0
    """How long an undo goes unanswered before the saga is STUCK."""
    chance: random.Random = field(default_factory=random.Random)

    def wait(self, position: Position, action: Do | Undo, tried_s: float) -> float:
        """How long to wait for the next attempt at what has been tried for `tried_s`."""
        cap = self.limited_cap_s if _limited(position, action) else self.endless_cap_s
        wait = min(max(tried_s, self.first_s), cap)
        return self.chance.uniform(wait / 2, wait)

    def is_over(self, position: Position, action: Do | Undo, tried_s: float) -> bool:
        """Whether to give up on an answer."""
        if isinstance(action, Undo):
            return tried_s >= self.stuck_after_s and action.step.name not in position.stuck
        if not _limited(position, action):
            return False
        return action.step.does.retry == command_pb2.RETRY_UNSPECIFIED or tried_s >= self.budget_s


def _limited(position: Position, action: Do | Undo) -> bool:
    """Whether an outcome may stay unknown: never after the pivot, and never of an undo."""
    if position.past_pivot or isinstance(action, Undo):
        return False
    return action.step.does.retry != command_pb2.RETRY_UNTIL_ANSWERED
