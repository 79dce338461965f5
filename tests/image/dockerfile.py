"""Reads a Dockerfile, as far as ours goes."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Instruction:
    """One line, for example `COPY --from=code /app/code code`."""

    word: str
    flags: dict[str, str]
    rest: str


@dataclass(frozen=True)
class Stage:
    """What follows one FROM."""

    name: str
    """The last one has none."""
    base: str
    instructions: tuple[Instruction, ...]


def read(text: str) -> list[Stage]:
    """The stages, in order. Raises ValueError when one is of no base, or of an ARG without a default."""
    before, *stages = _split(_instructions(text))
    defaults = dict(each.rest.split("=", 1) for each in before if each.word == "ARG")
    return [_stage(instructions, defaults) for instructions in stages]


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [_instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def _instruction(word: str, rest: str) -> Instruction:
    flags: dict[str, str] = {}
    while word.upper() in {"COPY", "FROM", "RUN"} and (flag := re.match(r"--([a-z]+)=(\S+)\s+", rest)):
        flags[flag[1]] = flag[2]
        rest = rest[flag.end() :]
    return Instruction(word.upper(), flags, rest)


def _split(instructions: list[Instruction]) -> list[list[Instruction]]:
    """What stands before the first FROM, and then from each FROM to the next."""
    parts: list[list[Instruction]] = [[]]
    for each in instructions:
        if each.word == "FROM":
            parts.append([])
        parts[-1].append(each)
    return parts


def _stage(instructions: list[Instruction], defaults: dict[str, str]) -> Stage:
    origin, *others = instructions
    found = re.fullmatch(r"\$\{(\w+)\}(?: AS (\w+))?", origin.rest)
    if found is None or found[1] not in defaults:
        raise ValueError(f"FROM {origin.rest}: an ARG with a default is expected to name the image")
    return Stage(found[2] or "", defaults[found[1]], tuple(others))
