"""`python -m catalogue` writes what is generated from the code; with `--check` it tells whether that was done."""

import sys
from pathlib import Path

from catalogue import asyncapi, code, pages

ROOT = Path(__file__).parents[1]
DOCUMENTS = "docs/events"


def generated() -> dict[str, str]:
    """Every generated file, and what stands in it."""
    catalogue = code.read()
    return {
        "catalogue/catalogue.json": catalogue.model_dump_json(indent=2) + "\n",
        f"{DOCUMENTS}/README.md": pages.overview(catalogue),
        f"{DOCUMENTS}/asyncapi.yaml": asyncapi.document(catalogue),
        **{f"{DOCUMENTS}/{service.name}.md": pages.page(catalogue, service) for service in catalogue.services},
    }


def stale(files: dict[str, str], root: Path) -> list[str]:
    """The files under `root` that are not as generated: changed, missing, or left over."""
    there = {str(path.relative_to(root)) for path in (root / DOCUMENTS).glob("*")}
    changed = {name for name, text in files.items() if not _is(root / name, text)}
    return sorted(changed | there - set(files))


def write(files: dict[str, str], root: Path) -> None:
    """Make the files under `root` as generated."""
    for name in stale(files, root):
        path = root / name
        if name in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name], encoding="utf-8")
        else:
            path.unlink()


def check(files: dict[str, str], root: Path) -> int:
    """Say which files under `root` are stale. Returns the exit code."""
    found = stale(files, root)
    for name in found:
        print(f"{name} is not what the code says: run `make catalogue`", file=sys.stderr)  # noqa: T201
    return 1 if found else 0


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(check(generated(), ROOT))
    write(generated(), ROOT)
