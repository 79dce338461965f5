"""Renders of `k8s/`: the overlays, and what else can be put together of their components."""

import shutil
import subprocess
from functools import cache
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from tests.documents import ROOT
from tests.k8s.manifests import Render, of_documents

K8S = ROOT / "k8s"
OVERLAYS = ("local", "production")
NOTHING = ""
CHOICES = (
    ("nats", "external-nats"),
    ("postgres", "cnpg", "cnpg+cnpg-recovery", "external-postgres"),
    ("jaeger", "external-otlp", NOTHING),
    ("autoscaling", "keda", NOTHING),
    ("gateway", NOTHING),
    ("mailpit", NOTHING),
    ("monitoring", NOTHING),
    ("goods", NOTHING),
)
"""An overlay has one of each line; what is joined by + goes together."""
ALWAYS_FIRST, ALWAYS_LAST = ("sandbox", "network-policies"), ("restricted",)
"""A component changes what was there before it."""
Row = tuple[str, ...]


def covering(choices: tuple[Row, ...]) -> list[Row]:
    """Rows of one choice each, so that any two choices meet in some row: by greed, not the fewest, but few."""
    rows = list(product(*choices))
    uncovered = {pair for row in rows for pair in _pairs(row)}
    chosen: list[Row] = []
    while uncovered:
        chosen.append(max(rows, key=lambda row: len(uncovered.intersection(_pairs(row)))))
        uncovered.difference_update(_pairs(chosen[-1]))
    return chosen


def _pairs(row: Row) -> list[tuple[tuple[int, str], ...]]:
    return list(combinations(enumerate(row), 2))


NAMES = (*OVERLAYS, *("+".join(filter(None, row)) for row in covering((OVERLAYS, *CHOICES))))
"""All that is rendered: the overlays, and such as `local+nats+cnpg`, an overlay with other components than its own."""


@cache
def rendered(name: str) -> Render:
    """What the cluster would get of an overlay, or of one with other components.

    Raises RuntimeError when it cannot be rendered, or not without a warning. Skips the test where nothing can be.
    """
    overlay, *components = name.split("+")
    if not components:
        return built(name, K8S / "overlays" / overlay)
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(K8S, Path(folder) / "k8s")) / "overlays" / overlay
        path = copy / "kustomization.yaml"
        chosen = [f"../../components/{each}" for each in (*ALWAYS_FIRST, *components, *ALWAYS_LAST)]
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "components": chosen}))
        return built(name, copy)


def built(name: str, folder: Path) -> Render:
    """What kustomize makes of a folder. Raises RuntimeError when it fails or warns."""
    command = [*_kustomize(), folder]
    process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - on our own files
    if process.returncode or process.stderr:
        raise RuntimeError(f"{name}: {process.stderr}")
    return of_documents(name, yaml.load_all(process.stdout, yaml.CSafeLoader))


def _kustomize() -> list[str]:
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    pytest.skip("no kubectl and no kustomize: go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.3")
