"""Whom PostgreSQL runs as when we are root."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cli.stack.account import unprivileged

needs_root = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="root only, with setpriv")


@needs_root
def test_a_program_in_a_folder_that_only_root_may_enter_is_found_by_whom_root_lends_it_to(tmp_path: Path) -> None:
    program = tmp_path / "secluded" / "program"
    program.parent.mkdir(mode=0o700)
    program.touch(mode=0o755)

    seen = subprocess.run(unprivileged().command(("/usr/bin/test", "-x", str(program))), check=False)  # noqa: S603

    assert seen.returncode == 0
