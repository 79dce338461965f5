"""What is rendered covers what can be deployed, and says where it is wrong."""

from itertools import combinations, product
from pathlib import Path

import pytest

from tests.k8s.manifests import of_documents
from tests.k8s.render import ALWAYS_FIRST, ALWAYS_LAST, CHOICES, K8S, NOTHING, OVERLAYS, built, covering, rendered


def test_every_component_can_be_chosen() -> None:
    chosen = {component for choice in CHOICES for each in choice for component in each.split("+")} - {NOTHING}

    assert chosen.union(ALWAYS_FIRST, ALWAYS_LAST) == {path.name for path in (K8S / "components").iterdir()}


def test_every_overlay_is_rendered() -> None:
    assert set(OVERLAYS) == {path.name for path in (K8S / "overlays").iterdir()}


def test_any_two_choices_meet() -> None:
    choices = (OVERLAYS, *CHOICES)
    rows = covering(choices)

    for (one, first), (other, second) in combinations(enumerate(choices), 2):
        met = {(row[one], row[other]) for row in rows}
        assert met == set(product(first, second))


def test_what_kustomize_warns_of_is_an_error(tmp_path: Path) -> None:
    rendered("local")  # which skips where there is no kustomize
    (tmp_path / "kustomization.yaml").write_text("commonLabels: {app: shop}\n")

    with pytest.raises(RuntimeError, match="commonLabels"):
        built("deprecated", tmp_path)


def test_a_selector_selects_by_labels_and_by_expressions() -> None:
    pods = [
        {"kind": "Pod", "metadata": {"name": name, "labels": {"name": name}}, "spec": {}} for name in ("one", "two")
    ]
    jobs = [{"kind": "Job", "metadata": pod["metadata"], "spec": {"template": pod}} for pod in pods]
    render = of_documents("pods", jobs)

    def selected(**selector: object) -> list[str]:
        return [pod.name for pod in render.selected(selector)]

    assert selected() == ["one", "two"]
    assert selected(matchLabels={"name": "one"}) == ["one"]
    assert selected(matchExpressions=[{"key": "name", "operator": "In", "values": ["two"]}]) == ["two"]
    assert selected(matchExpressions=[{"key": "name", "operator": "NotIn", "values": ["two"]}]) == ["one"]
    assert selected(matchExpressions=[{"key": "name", "operator": "Exists"}]) == ["one", "two"]
    assert selected(matchExpressions=[{"key": "name", "operator": "DoesNotExist"}]) == []
