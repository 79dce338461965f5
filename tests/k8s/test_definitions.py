"""Custom resources are as those define them whom they are for. A real API server says more, where there is one."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.k8s import crds
from tests.k8s.breakage import changed
from tests.k8s.manifests import Manifest, Render, of_documents
from tests.k8s.render import K8S, NAMES, rendered
from tests.k8s.rules.schemas import CUSTOM

Definitions = dict[tuple[str, str], Draft202012Validator]


@pytest.fixture(scope="session")
async def definitions() -> Definitions:
    """By API version and kind."""
    try:
        files = await crds.files()
    except crds.Unavailable as reason:
        pytest.skip(str(reason))
    specs: list[Manifest] = [yaml.load(file.read_text(), yaml.CSafeLoader)["spec"] for file in files]
    return {
        (f"{spec['group']}/{version['name']}", spec["names"]["kind"]): Draft202012Validator(strict(schema))
        for spec in specs
        for version in spec["versions"]
        for schema in version["schema"].values()
    }


@pytest.mark.parametrize("name", NAMES, ids=str)
async def test_custom_resources_fit_their_definitions(name: str, definitions: Definitions) -> None:
    wrong = list(mistakes(rendered(name), definitions))

    assert not wrong, "\n".join(wrong)


async def test_a_backup_that_is_made_by_hand_fits_its_definition(definitions: Definitions) -> None:
    file = K8S / "components" / "cnpg" / "backup-now.yaml"

    assert list(mistakes(of_documents(file.name, [yaml.safe_load(file.read_text())]), definitions)) == []


async def test_a_field_that_is_not_defined_is_a_mistake(definitions: Definitions) -> None:
    [cluster] = rendered("production").of("Cluster")
    [validator] = [validator for (_, kind), validator in definitions.items() if kind == "Cluster"]

    assert not list(validator.iter_errors(cluster.manifest))
    assert list(validator.iter_errors(changed(cluster.manifest, ["spec", "instance"], 3)))
    assert list(validator.iter_errors(changed(cluster.manifest, ["spec", "instances"], "three")))


def mistakes(render: Render, definitions: Definitions) -> Iterator[str]:
    for resource in render.resources:
        if resource.manifest["apiVersion"].partition("/")[0] in CUSTOM:
            for error in definitions[resource.manifest["apiVersion"], resource.kind].iter_errors(resource.manifest):
                yield f"{resource}: {error.json_path}: {error.message}"


def strict(schema: Manifest) -> dict[str, Any]:
    """The same, but what it does not name is a mistake: the API server would drop it, with a warning."""
    known: dict[str, Any] = dict(schema)
    if "properties" in known:
        known["properties"] = {name: strict(each) for name, each in known["properties"].items()}
        if not known.get("x-kubernetes-preserve-unknown-fields"):
            known.setdefault("additionalProperties", False)
    if "items" in known:
        known["items"] = strict(known["items"])
    if isinstance(known.get("additionalProperties"), dict):
        known["additionalProperties"] = strict(known["additionalProperties"])
    return known
