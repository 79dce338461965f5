"""Every resource is one that Kubernetes knows, from the oldest version that we run on to the newest there is."""

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry

from tests.k8s.manifests import Manifest, Render

VERSIONS = ("1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
CUSTOM = ("postgresql.cnpg.io", "keda.sh", "monitoring.coreos.com", "gateway.networking.k8s.io")
"""The groups of resources that others define; a real API server judges these."""
SCHEMAS = resources.files("kubernetes_validate") / "kubernetes-json-schema"


def every_resource_fits_its_schema(render: Render) -> Iterator[str]:
    for resource in render.resources:
        if resource.manifest["apiVersion"].partition("/")[0] not in CUSTOM:
            for version in VERSIONS:
                yield from (f"{resource}: {each}" for each in mistakes(version, json.dumps(resource.manifest)))


@cache
def mistakes(version: str, document: str) -> list[str]:
    """What one version of Kubernetes has against a resource; a field that it does not know is one, too."""
    manifest: Manifest = json.loads(document)
    try:
        schema = validator(version, manifest["apiVersion"], manifest["kind"])
    except FileNotFoundError:
        return [f"Kubernetes {version} knows no {manifest['kind']} of {manifest['apiVersion']}"]
    return [f"{error.json_path}: {error.message} (Kubernetes {version})" for error in schema.iter_errors(manifest)]


@cache
def validator(version: str, api_version: str, kind: str) -> Draft202012Validator:
    """Raises FileNotFoundError when this version does not know the kind."""
    group, _, rest = api_version.rpartition("/")
    prefix = f"{group.partition('.')[0]}-" if group else ""
    schema = json.loads(folder(version).joinpath(f"{kind.lower()}-{prefix}{rest}.json").read_text())
    return Draft202012Validator(schema, registry=registry(version))


@cache
def registry(version: str) -> Registry[Any]:
    definitions = json.loads(folder(version).joinpath("_definitions.json").read_text())
    return Registry[Any]().with_contents([(definitions["$id"], definitions)])


def folder(version: str) -> Any:
    return SCHEMAS / f"v{version}.0-local-strict"
