"""What an engine is sent of a folder to build an image: all that `.dockerignore` does not exclude."""

import os
import re
from pathlib import Path, PurePosixPath


def files(root: Path) -> list[PurePosixPath]:
    """The files below `root` that are sent, in order, relative to it."""
    patterns = _lines((root / ".dockerignore").read_text(encoding="utf-8"))
    found: list[PurePosixPath] = []
    for folder, folders, names in os.walk(root):
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        folders[:] = [each for each in folders if _may_hold_some(here / each, patterns)]
        found += [here / each for each in names if not excluded(here / each, patterns)]
    return sorted(found)


def excluded(path: PurePosixPath, patterns: list[str]) -> bool:
    """Whether the last pattern that matches it, or a folder that it is in, is one without `!`."""
    last = next((each for each in reversed(patterns) if _expression(each).fullmatch(str(path))), "!")
    return not last.startswith("!")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _may_hold_some(folder: PurePosixPath, patterns: list[str]) -> bool:
    return not excluded(folder, patterns) or any(each.startswith(f"!{folder}/") for each in patterns)


def _expression(pattern: str) -> re.Pattern[str]:
    """`*` is any part of one name, `**/` any number of folders; what is below a match is matched, too."""
    expression = re.escape(pattern.removeprefix("!").strip("/"))
    expression = expression.replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return re.compile(f"{expression}(?:/.*)?")
