"""The release before ours, as git has it: the last tag, or the last commit where there is none."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def release_before() -> str:
    """Its name in git. Skips the test where git has no history."""
    if not shutil.which("git") or not git("rev-parse", "--verify", "HEAD~1"):
        pytest.skip("no release before this one: it takes a clone with history (git fetch --unshallow)")
    return git("describe", "--tags", "--abbrev=0", "HEAD~1").decode().strip() or "HEAD~1"


def git(*arguments: str) -> bytes:
    """What git says; nothing, if it cannot."""
    return subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, check=False).stdout  # noqa: S603, S607
