"""The short version of `make simulate`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.bugs import BUGS, Bug, UnnoticedGreedyStore
from tests.simulation.search import first_finding
from tests.simulation.world import World

ROOT = Path(__file__).parents[2]
SEEDS = 2000
HARMLESS_SEEDS = 300
TOLD = 7


def test_no_invariant_is_violated() -> None:
    assert first_finding(range(1, SEEDS + 1)) is None


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    finding = first_finding(range(1, SEEDS + 1), BUGS[bug])

    assert finding is not None
    assert any(BUGS[bug].finding in violation for violation in finding.violations)


def test_leases_that_protect_from_nothing_do_no_harm() -> None:
    """They only say who should act; whose acts count, the epochs say."""
    assert first_finding(range(1, HARMLESS_SEEDS + 1), Bug("", store=UnnoticedGreedyStore)) is None


def test_a_seed_is_replayed_exactly() -> None:
    histories = [World(seed).run().digest() for seed in (*range(1, 50), *range(1, 50))]

    assert histories[:49] == histories[49:]


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_is_replayed_exactly_by_another_process(hash_seed: str) -> None:
    told = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "tests.simulation", "--seed", str(TOLD)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert World(TOLD).run().digest() in told.stdout
