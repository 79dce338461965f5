"""The image without an engine: its files, made by the Dockerfile's own lines, and how a container of it runs."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.image.build import built
from tests.image.dockerfile import Stage, read

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "image"


@dataclass(frozen=True)
class Prefix:
    """What the Dockerfile adds to its base image."""

    root: Path
    """What is `/` in a container; it has nothing of the base image. Shared: write nothing to it."""
    stage: Stage

    @property
    def environment(self) -> dict[str, str]:
        """As in a container."""
        words = [word for line in self._lines("ENV") for word in shlex.split(line)]
        return dict(word.split("=", 1) for word in words)

    @property
    def user(self) -> str:
        return self._lines("USER")[-1]

    @property
    def entrypoint(self) -> list[str]:
        return json.loads(self._lines("ENTRYPOINT")[-1])

    def command(self, *args: str) -> tuple[str, ...]:
        """Runs a container's `args` here, with `environment_here`: by the tests' Python, without its packages."""
        return (str(interpreter()), "-S", *args)

    @property
    def environment_here(self) -> dict[str, str]:
        """As in a container, but with the paths that things have here."""
        return {name: value.replace("/app", f"{self.root}/app") for name, value in self.environment.items()}

    def _lines(self, word: str) -> list[str]:
        return [each.rest for each in self.stage.instructions if each.word == word]


def installed() -> Prefix:
    """Made below `.cache` when it is first asked for, and whenever the Dockerfile or what it copies has changed."""
    made: dict[str, Path] = {}
    *stages, image = read((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    for stage in stages:
        made[stage.name] = built(stage, made, ROOT, CACHE)
    return Prefix(built(image, made, ROOT, CACHE), image)


def interpreter() -> Path:
    """The Python that the tests' virtual environment was made from."""
    return Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
