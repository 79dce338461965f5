"""What the documents show: commands with the answers they claim."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)


@dataclass(frozen=True)
class Example:
    """A command from a console block, and the answer that the document shows. `...` stands for anything."""

    document: str
    command: str
    answer: str

    def __str__(self) -> str:
        return f"{self.document}: {self.command[:60]}"

    def shows(self, output: str) -> bool:
        """Whether `output` is what the document shows."""
        pattern = re.escape(_plain(self.answer)).replace(r"\.\.\.", "(?s:.*)")
        return re.fullmatch(pattern, _plain(output)) is not None


def examples() -> list[Example]:
    """All examples of all documents."""
    return [each for path in DOCUMENTS for each in _examples(path)]


def _examples(path: Path) -> Iterator[Example]:
    for block in re.findall(r"^```console\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = part.partition("\n")
            yield Example(path.name, command, answer)


def _plain(text: str) -> str:
    return "\n".join(re.sub(r"\s+", " ", line).strip() for line in text.strip().splitlines())
