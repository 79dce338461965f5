"""The environment of a container, as the kubelet puts it together."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.k8s.manifests import Container, Manifest, Pod, Render, Resource

REFERENCE = re.compile(r"\$(\$)?\(([A-Za-z_][A-Za-z0-9_]*)\)")
PASSWORD = "of-this-length"
"""Stands for what a Secret holds that is not in the render."""


@dataclass(frozen=True)
class Variable:
    """What a container is told, with the names of the Secrets that it is made of."""

    value: str
    secrets: frozenset[str] = frozenset()


def environment(container: Container, render: Render) -> dict[str, Variable]:
    """The variables by name. What they refer to and is not there stays as it is written."""
    known: dict[str, Variable] = {}
    for source in container.get("envFrom", []):
        known |= _all_of(source, render)
    for each in container.get("env", []):
        if "valueFrom" in each:
            known[each["name"]] = _found(each["valueFrom"], container.pod, render)
        else:
            known[each["name"]] = expanded(each.get("value", ""), known)
    return known


def expanded(text: str, known: Mapping[str, Variable]) -> Variable:
    """The text with `$(NAME)` replaced by what is known; `$$(NAME)` means itself."""
    secrets: set[str] = set()

    def value(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped or name not in known:
            return match.group(0).removeprefix("$" if escaped else "")
        secrets.update(known[name].secrets)
        return known[name].value

    return Variable(REFERENCE.sub(value, text), frozenset(secrets))


def secrets_of(pod: Pod) -> Iterator[tuple[str, str | None]]:
    """The Secrets that a pod asks for, and which key of them, or None for all."""
    for container in pod.containers:
        for each in container.get("env", []):
            if reference := each.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"], reference["key"]
        yield from ((each["secretRef"]["name"], None) for each in container.get("envFrom", []) if "secretRef" in each)
    yield from ((name, None) for name in _mounted(pod, "secret", "secretName"))


def config_maps_of(pod: Pod) -> Iterator[tuple[str, str | None]]:
    """The same of ConfigMaps."""
    for container in pod.containers:
        for each in container.get("env", []):
            if reference := each.get("valueFrom", {}).get("configMapKeyRef"):
                yield reference["name"], reference["key"]
        yield from ((e["configMapRef"]["name"], None) for e in container.get("envFrom", []) if "configMapRef" in e)
    yield from ((name, None) for name in _mounted(pod, "configMap", "name"))


def contents(resource: Resource) -> dict[str, str]:
    """What a ConfigMap or a Secret holds, by key."""
    coded: Manifest = resource.manifest.get("data", {}) if resource.kind == "Secret" else {}
    plain = resource.manifest.get("stringData" if resource.kind == "Secret" else "data", {})
    return {key: base64.b64decode(value).decode() for key, value in coded.items()} | dict(plain)


def _mounted(pod: Pod, kind: str, field: str) -> Iterator[str]:
    for volume in pod.get("volumes", []):
        sources = [volume, *volume.get("projected", {}).get("sources", [])]
        yield from (each[kind].get(field, each[kind].get("name")) for each in sources if kind in each)


def _all_of(source: Manifest, render: Render) -> dict[str, Variable]:
    kind = "Secret" if "secretRef" in source else "ConfigMap"
    name = (source.get("secretRef") or source["configMapRef"])["name"]
    resource = render.find(kind, name)
    secrets = frozenset([name]) if kind == "Secret" else frozenset[str]()
    return {key: Variable(value, secrets) for key, value in (contents(resource) if resource else {}).items()}


def _found(source: Manifest, pod: Pod, render: Render) -> Variable:
    if reference := source.get("secretKeyRef"):
        secret = render.find("Secret", reference["name"])
        value = contents(secret).get(reference["key"]) if secret else None
        return Variable(value or PASSWORD, frozenset([reference["name"]]))
    if reference := source.get("configMapKeyRef"):
        config = render.find("ConfigMap", reference["name"])
        return Variable(contents(config).get(reference["key"], "") if config else "")
    return Variable(f"{pod.name}-0" if source.get("fieldRef", {}).get("fieldPath") == "metadata.name" else "0")
