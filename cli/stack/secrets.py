"""The passwords of the embedded PostgreSQL and NATS: random, made once, kept beside their data."""

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path


def kept(path: Path, names: Iterable[str]) -> Mapping[str, str]:
    """A password for each of `names`, from the file at `path`; those that it lacks are made and added."""
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    missing = {name: secrets.token_urlsafe(24) for name in names if name not in known}
    if missing:
        write_private(path, json.dumps(known | missing, indent=2))
    return known | missing


def write_private(path: Path, text: str) -> None:
    """Replace the file at once, readable by its owner only."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)
