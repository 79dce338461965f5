"""`python -m cli.kubernetes` writes what is generated from the code; with `--check` it tells whether that was done."""

import sys
from pathlib import Path

from cli.kubernetes import nats, policies, scaling
from cli.kubernetes.connections import NATS, OTLP, POSTGRES

ROOT = Path(__file__).parents[2]
WRONG = "{} is not what the code says: run `make k8s-render`"


def generated() -> dict[str, str]:
    """Every generated file, and what stands in it."""
    files = {
        "network-policies/policies.yaml": policies.within(),
        "external-nats/network-policy.yaml": policies.external("external-nats", "nats", NATS),
        "external-postgres/network-policy.yaml": policies.external("external-postgres", "postgres", POSTGRES),
        "external-otlp/network-policy.yaml": policies.external("external-otlp", "jaeger", OTLP),
        "nats/nats.conf": nats.configuration(),
        "keda/scaled-objects.yaml": scaling.scaled_objects(),
    }
    return {f"k8s/components/{name}": text for name, text in files.items()}


def stale(files: dict[str, str], root: Path) -> list[str]:
    """The files under `root` that are not as generated."""
    return [name for name, text in files.items() if not (root / name).exists() or (root / name).read_text() != text]


def write(files: dict[str, str], root: Path) -> None:
    """Make the files under `root` as generated."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def check(files: dict[str, str], root: Path) -> int:
    """Say which files under `root` are stale. Returns the exit code."""
    found = stale(files, root)
    for name in found:
        print(WRONG.format(name), file=sys.stderr)  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(check(generated(), ROOT))
    write(generated(), ROOT)
