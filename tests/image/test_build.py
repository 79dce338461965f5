"""What the image is made of is found out as an engine would."""

from pathlib import Path, PurePosixPath

import pytest

from tests.image import context
from tests.image.build import built
from tests.image.dockerfile import Stage, read

DOCKERFILE = r"""
# a comment
ARG BASE=debian:13
FROM ${BASE} AS code
WORKDIR /app
COPY . code
RUN python -c "open('made', 'w').write('made')" && \
    chmod -R a+rX .
FROM ${BASE}
COPY --from=code /app /app
"""


def folder(root: Path, ignored: str, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    (root / ".dockerignore").write_text(ignored)
    return root


@pytest.mark.parametrize(
    ("ignored", "sent"),
    [
        ("", [".dockerignore", ".env", "a/b/c.py", "a/b/c.pyi", "d"]),
        ("*", []),
        ("# nothing but this\n*\n!a\n", ["a/b/c.py", "a/b/c.pyi"]),
        ("*\n!a/b/c.py", ["a/b/c.py"]),
        ("*\n!a\n**/*.pyi", ["a/b/c.py"]),
        ("**/.*\na", ["d"]),
        ("a/*\n!a/b", [".dockerignore", ".env", "a/b/c.py", "a/b/c.pyi", "d"]),
        ("/d\n*.env\n.docker?gnore", ["a/b/c.py", "a/b/c.pyi"]),
    ],
)
def test_last_pattern_that_matches_decides(tmp_path: Path, ignored: str, sent: list[str]) -> None:
    folder(tmp_path, ignored, "a/b/c.py", "a/b/c.pyi", "d", ".env")
    assert context.files(tmp_path) == [PurePosixPath(path) for path in sent]


def test_stages_are_played_in_turn(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", "*\n!a", "a/b.py", "d")
    made = image(source, tmp_path / "cache")
    assert {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()} == {
        "app/code/a/b.py",
        "app/made",
    }


def test_image_is_made_anew_only_when_a_file_of_it_has_changed(tmp_path: Path) -> None:
    source, cache = folder(tmp_path / "source", "*\n!a", "a/b.py", "d"), tmp_path / "cache"
    first = image(source, cache)
    (source / "d").write_text("changed")
    assert image(source, cache) == first
    (source / "a" / "b.py").write_text("changed")
    assert image(source, cache) != first


@pytest.mark.parametrize(
    "line",
    ["RUN rm -rf made", "RUN python -m pip install --target=/opt rich", "ADD a b", "RUN --mount=type=cache pip list"],
)
def test_what_might_touch_this_machine_is_not_played(tmp_path: Path, line: str) -> None:
    stage = read(f"ARG BASE=debian:13\nFROM ${{BASE}} AS code\n{line}\n")[0]
    with pytest.raises(ValueError, match="cannot be played"):
        built(stage, {}, folder(tmp_path, "*"), tmp_path / "cache")


def image(source: Path, cache: Path) -> Path:
    made: dict[str, Path] = {}
    stages: list[Stage] = read(DOCKERFILE)
    for stage in stages:
        made[stage.name] = built(stage, made, source, cache)
    return made[""]
