"""Plays the stages of a Dockerfile below a folder, as far as they are about files.

COPY copies exactly what it would, RUN runs by the same words. The place of a base image is empty; the Python is that of
the tests.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.image import context
from tests.image.dockerfile import Instruction, Stage

PLAYED = {"pip", "python", "chmod"}
ABSOLUTE = re.compile(r"(^|=)/")
"""RUN may name these commands, and no absolute path, so that they leave the machine alone."""
ABOUT_NO_FILES = {"ARG", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "USER"}


def built(stage: Stage, made: Mapping[str, Path], source: Path, cache: Path) -> Path:
    """The root of the stage, in `cache`: from earlier, where nothing that goes into it has changed since.

    `made` has the roots of the stages before it. Raises ValueError for what cannot be played, and CalledProcessError.
    """
    root = cache / f"{stage.name or 'image'}-{_digest(stage, made, source)}"
    if not root.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as new:
            play = _Play(Path(new, "root"), made, source)
            for each in stage.instructions:
                play.instruction(each)
            play.root.rename(root)
    return root


@dataclass
class _Play:
    root: Path
    made: Mapping[str, Path]
    source: Path
    workdir: PurePosixPath = field(default_factory=lambda: PurePosixPath("/"))

    def instruction(self, each: Instruction) -> None:
        match each.word:
            case "WORKDIR":
                self.workdir /= each.rest
                self._here().mkdir(parents=True, exist_ok=True)
            case "COPY" if "from" in each.flags:
                self._copy_made(each.flags["from"], *each.rest.split())
            case "COPY":
                self._copy_sent(*each.rest.split())
            case "RUN" if not each.flags:
                self._run(each.rest)
            case word if word not in ABOUT_NO_FILES:
                raise ValueError(f"{word} {each.rest} cannot be played")
            case _:
                pass

    def _copy_made(self, stage: str, source: str, target: str) -> None:
        """A folder of an earlier stage. Links do, since nobody writes to what was built."""
        shutil.copytree(self.made[stage] / source.removeprefix("/"), self._here(target), copy_function=os.link)

    def _copy_sent(self, source: str, target: str) -> None:
        """A file into a folder, or what is in a folder."""
        for path in _sent(self.source, source):
            copy = self._here(target) / (path.name if str(path) == source else path.relative_to(source))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.source / path, copy)

    def _run(self, commands: str) -> None:
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for command in map(shlex.split, commands.split("&&")):
            if command[0] not in PLAYED or any(ABSOLUTE.search(word) for word in command):
                raise ValueError(f"RUN {commands} cannot be played: it might do something to this machine")
            subprocess.run(command, cwd=self._here(), env=environment, check=True)  # noqa: S603

    def _here(self, path: str = "") -> Path:
        return self.root / (self.workdir / path).relative_to("/")


def _sent(root: Path, source: str) -> list[PurePosixPath]:
    """The files that `COPY source` takes from the folder that is built from."""
    return [path for path in context.files(root) if path.is_relative_to(source)]


def _digest(stage: Stage, made: Mapping[str, Path], source: Path) -> str:
    """Another one for all that could make another stage."""
    digest = hashlib.sha256(f"{sys.version} {stage.instructions}".encode())
    for copy in (each for each in stage.instructions if each.word == "COPY"):
        if "from" in copy.flags:
            digest.update(made[copy.flags["from"]].name.encode())
            continue
        for path in _sent(source, copy.rest.split()[0]):
            digest.update(f"{path} ".encode() + (source / path).read_bytes())
    return digest.hexdigest()[:16]
