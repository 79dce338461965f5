"""Documents do not rot: what they name exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.main import app
from tests.documents import DOCUMENTS, ROOT

TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
NOT_THERE = re.compile(r"\.cache/|.*loyalty")
"""What a command makes, and the example of a service that does not exist."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_path_that_is_named_exists(document: Path) -> None:
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", document.read_text())
    ours = [path for path in named if (ROOT / path.split("/")[0]).exists() and not NOT_THERE.match(path)]

    assert [path for path in ours if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"(?:`|^|\s)make ([a-z-]+)(?:`|$)", document.read_text(), re.MULTILINE))

    assert named - TARGETS == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_ensemble_command_and_option_that_is_named_exists(document: Path) -> None:
    named = re.findall(r"(?:`|^|\$ |^ +)ensemble ([a-z][^`\n#|]*)", document.read_text(), re.MULTILINE)

    assert [each for each in named if unknown(each)] == []


def unknown(arguments: str) -> list[str]:
    """What of a command's words the command line does not know."""
    words = re.split(r"[\s\[\]]+", arguments)
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    is_group = hasattr(command, "commands")
    return [word for word in words if (word.startswith("--") and word not in known) or (is_group and word.isalpha())]
