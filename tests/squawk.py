"""Squawk, which knows what a migration does to those who work on the tables meanwhile, with the rules that are ours."""

import json
import re
import subprocess
import sys
from pathlib import Path

from mesh.postgres.migrations.files import Migration

SQUAWK = Path(sys.executable).with_name("squawk")
OLDEST = "14"
"""The oldest PostgreSQL that we run on."""
BESIDES = (
    "ban-disable-trigger",
    "ban-new-write-restriction",
    "ban-replace-view-function",
    "ban-revoke",
    "ban-set-schema",
)
"""What it looks for only when asked to: what old code does not expect."""
TASTE = ("prefer-bigint-over-int", "prefer-robust-stmts")
TIMEOUTS = ("require-lock-timeout", "require-statement-timeout")
"""Whoever applies a migration sees to those."""
BREAKING = re.compile("ban-(disable|drop|new-write|replace|revoke|set)-|renaming-|adding-required-field")
"""What breaks old code: a file for after the roll-out may. What stops everybody's work no file may."""


def complaints(file: Migration) -> set[str]:
    """The rules that it breaks."""
    flags = [f"--include={rule}" for rule in BESIDES] + [f"--exclude={rule}" for rule in TASTE + TIMEOUTS]
    if file.in_transaction:
        flags.append("--assume-in-transaction")
    command = [SQUAWK, "--reporter=json", f"--pg-version={OLDEST}", f"--stdin-filepath={file.name}", *flags]
    said = subprocess.run(command, input=file.sql, capture_output=True, text=True, check=False)  # noqa: S603 - the linter, on our own files
    assert not said.stderr, said.stderr
    found = {each["rule_name"] for each in json.loads(said.stdout)}
    return {rule for rule in found if not (file.after and BREAKING.match(rule))}
