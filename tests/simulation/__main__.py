"""`python -m tests.simulation`: many seeds, or one of them told in full."""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.simulation.bugs import BUGS, NONE
from tests.simulation.search import Finding, first_finding
from tests.simulation.world import World

CHUNK = 100
"""Seeds that a job runs before it reports."""


def main() -> int:
    """Returns 1 if a seed fails; or, with a planted bug, if none does."""
    asked = _arguments()
    if asked.seed is not None:
        return _told(asked.seed, asked.bug, verbose=asked.verbose)
    seeds = range(asked.first, asked.first + asked.seeds)
    for done, finding in _findings(seeds, asked.bug, asked.jobs):
        if finding is not None:
            _say(f"\nseed {finding.seed} fails:", *(f"  {violation}" for violation in finding.violations))
            planted = f" --bug {asked.bug}" if asked.bug else ""
            _say(f"replay it: python -m tests.simulation --seed {finding.seed} --verbose{planted}")
            return 0 if asked.bug else 1
        sys.stdout.write(f"\r{done} of {len(seeds)} seeds without a violation")
        sys.stdout.flush()
    _say("")
    return 1 if asked.bug else 0


def _findings(seeds: range, bug: str | None, jobs: int) -> Iterator[tuple[int, Finding | None]]:
    """For each chunk: how many seeds are done by then, and what was found in it."""
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(jobs) as pool:
        for chunk, finding in zip(chunks, pool.map(_chunk, chunks, repeat(bug)), strict=True):
            if finding is not None:
                pool.shutdown(wait=False, cancel_futures=True)
            yield chunk.stop - seeds.start, finding


def _chunk(seeds: range, bug: str | None) -> Finding | None:
    return first_finding(seeds, BUGS[bug] if bug else NONE)


def _told(seed: int, bug: str | None, *, verbose: bool) -> int:
    history = World(seed, BUGS[bug] if bug else NONE).run()
    if verbose:
        _say(str(history))
    _say(f"seed {seed}: {len(history.violations)} violations, history {history.digest()}")
    _say(*history.violations)
    return 1 if history.violations else 0


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--from", type=int, default=1, dest="first", metavar="SEED", help="the first of them")
    parser.add_argument("--jobs", type=int, default=None, help="processes; as many as there are processors")
    parser.add_argument("--bug", choices=BUGS, help="plant a bug, which is to be found")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--verbose", action="store_true", help="with --seed: tell all that happens")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
