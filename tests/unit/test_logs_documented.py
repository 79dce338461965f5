"""docs/logs.md names every line that a process may write, and no other."""

import ast
import re

from tests.documents import ROOT

PROCESSES = ("mesh", "services", "orchestrator", "sandbox", "collector")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}


def written() -> set[str]:
    """The events of all lines in the code."""
    paths = [path for folder in PROCESSES for path in (ROOT / folder).rglob("*.py")]
    return {event for path in paths for node in ast.walk(ast.parse(path.read_text())) for event in events(node)}


def events(node: ast.AST) -> list[str]:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=args) if level in LEVELS:
            (event,) = [each.value for each in args if isinstance(each, ast.Constant)]
            return [str(event)]
        case _:
            return []


def documented() -> set[str]:
    """The events in the first columns of the tables."""
    columns = re.findall(r"^\| (`[^|]*`) \|", (ROOT / "docs/logs.md").read_text(), re.MULTILINE)
    return {event for column in columns for event in re.findall(r"`(\w+)`", column)}


def test_every_line_is_documented() -> None:
    assert written() - documented() == set()


def test_every_documented_line_is_written() -> None:
    assert documented() - written() == set()
