"""Looking for a seed that fails."""

from dataclasses import dataclass

from tests.simulation.bugs import NONE, Bug
from tests.simulation.world import World


@dataclass(frozen=True)
class Finding:
    """A seed, and what it violated."""

    seed: int
    violations: list[str]


def first_finding(seeds: range, bug: Bug = NONE) -> Finding | None:
    """The first of the seeds that violates an invariant."""
    for seed in seeds:
        violations = World(seed, bug).run().violations
        if violations:
            return Finding(seed, violations)
    return None
