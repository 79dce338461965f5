"""What the documents tell an operator to name to kubectl is there."""

import re

import pytest

from tests.documents import ROOT
from tests.k8s.render import OVERLAYS, rendered

KINDS = {
    "cluster": "Cluster",
    "deployment": "Deployment",
    "job": "Job",
    "jobs": "Job",
    "secret": "Secret",
    "statefulset": "StatefulSet",
    "svc": "Service",
}
DOCUMENTS = ("README.md", "docs/kubernetes.md", "docs/migrations.md", "docs/operations.md")
COMMANDS = [
    command
    for document in DOCUMENTS
    for command in re.findall(r"kubectl (?!create secret|label)([^`\n|]+)", (ROOT / document).read_text())
]
"""But those that make the Secrets, which production does not have yet."""


def named(pattern: str) -> list[str]:
    """What all commands have at the last group of a pattern; each once."""
    return sorted({each[each.lastindex or 0] for command in COMMANDS for each in re.finditer(pattern, command)})


RESOURCES = named(rf"\b((?:{'|'.join(KINDS)})[/ ][a-z][a-z0-9-]*)(?![\w$-])")
PODS = named(r"\b(?:exec|pod)(?: -i)? ([a-z]+)-\d")
SELECTED = named(r"kubernetes\.io/name(?:=| in \()([a-z, ]+)")
PATHS = named(r" -[fk] ([\w./-]+)")


def test_the_documents_name_something_of_each_sort() -> None:
    assert all((RESOURCES, PODS, SELECTED, PATHS))


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_resource_that_is_named_is_there(resource: str) -> None:
    kind, name = re.split("[/ ]", resource)

    assert any(rendered(overlay).find(KINDS[kind], name) for overlay in OVERLAYS)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_that_is_named_is_there(name: str) -> None:
    sets = ("StatefulSet", "Cluster")

    assert any(rendered(overlay).find(kind, name) for overlay in OVERLAYS for kind in sets)


@pytest.mark.parametrize("names", SELECTED)
def test_whom_a_selector_names_is_there(names: str) -> None:
    labels = {pod.labels.get("app.kubernetes.io/name") for overlay in OVERLAYS for pod in rendered(overlay).pods}

    assert {name.strip() for name in names.split(",")} <= labels


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_applied_is_there(path: str) -> None:
    assert (ROOT / path).exists()
