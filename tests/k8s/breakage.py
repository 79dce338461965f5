"""Renders with one thing wrong, and what a rule then says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.k8s.manifests import Render, Resource

GONE: Any = object()
"""What a field becomes when it is taken away."""
PODS = "spec.template.spec"
HASH = "(-[a-z0-9]{10})?"
"""What kustomize adds to the names of what it generates."""


@dataclass(frozen=True)
class Breakage:
    """In a resource, a field becomes something else; with no field, the resource is taken away."""

    rule: str
    resource: str
    field: str
    becomes: Any
    says: str
    """Something of what the rule says then."""
    render: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.says}"

    def of(self, render: Render) -> Render:
        """The render, broken. Raises ValueError when it has no such resource, or more than one."""
        [old] = [each for each in render.resources if re.fullmatch(self.resource + HASH, str(each))]
        new = [Resource(changed(old.manifest, self.field.split("."), self.becomes))] if self.field else []
        index = render.resources.index(old)
        return replace(render, resources=(*render.resources[:index], *new, *render.resources[index + 1 :]))


def breakages() -> list[Breakage]:
    """Those of breakages.yaml."""
    table = yaml.safe_load(Path(__file__).with_name("breakages.yaml").read_text())
    return [_breakage(rule, row) for rule, rows in table.items() for row in rows]


def _breakage(rule: str, row: Mapping[str, Any]) -> Breakage:
    field = re.sub("^pods", PODS, row.get("field", ""))
    return Breakage(rule, row["in"], field, row.get("becomes", GONE), row["says"], row.get("of", "local"))


def changed(whole: Any, path: list[str], value: Any) -> Any:
    """A copy with another value at the path; what leads there is made where it is missing."""
    if not path:
        return value
    if isinstance(whole, list):
        elements: list[Any] = [*whole]
        return _changed_list(elements, path, value)
    known: dict[str, Any] = dict(whole or {})
    known[path[0]] = changed(known.get(path[0]), path[1:], value)
    return {key: each for key, each in known.items() if each is not GONE}


def _changed_list(elements: list[Any], path: list[str], value: Any) -> list[Any]:
    index = _index(elements, path[0])
    old = elements[index] if index < len(elements) else None
    elements[index : index + 1] = [changed(old, path[1:], value)]
    return [each for each in elements if each is not GONE]


def _index(elements: list[Any], key: str) -> int:
    """Where an element of that name is, or would be."""
    if key.isdigit():
        return int(key)
    named = (index for index, each in enumerate(elements) if each == {**each, "name": key})
    return next(named, len(elements))
