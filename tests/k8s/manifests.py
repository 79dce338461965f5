"""Manifests, read: the resources of a render, the pods that they make, and their containers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Manifest = Mapping[str, Any]

LONG_RUNNING = ("Deployment", "StatefulSet", "DaemonSet")
TEMPLATES = dict.fromkeys((*LONG_RUNNING, "Job"), "spec.template") | {"CronJob": "spec.jobTemplate.spec.template"}
"""Where the kinds that make pods say how these look."""


@dataclass(frozen=True, eq=False)
class Resource:
    """One document of a render."""

    manifest: Manifest

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def kind(self) -> str:
        return self.manifest["kind"]

    @property
    def name(self) -> str:
        return self.manifest["metadata"]["name"]

    @property
    def spec(self) -> Manifest:
        return self.manifest.get("spec", {})

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path such as `spec.replicas`."""
        return get(self.manifest, path, default)


@dataclass(frozen=True, eq=False)
class Container:
    """One container of a pod; one that runs before the others is `initial`."""

    pod: "Pod"
    manifest: Manifest
    initial: bool

    def __str__(self) -> str:
        return f"{self.pod}: container {self.name}"

    @property
    def name(self) -> str:
        return self.manifest["name"]

    @property
    def args(self) -> list[str]:
        """As they are written, the command included."""
        return [*self.manifest.get("command", []), *self.manifest.get("args", [])]

    @property
    def ports(self) -> dict[str, int]:
        """Those that it listens on, by their names; a nameless one by its number."""
        return {port.get("name", str(port["containerPort"])): port["containerPort"] for port in self.get("ports", [])}

    def get(self, path: str, default: Any = None) -> Any:
        return get(self.manifest, path, default)


@dataclass(frozen=True, eq=False)
class Pod:
    """The pods of one owner, which are all alike."""

    owner: Resource
    template: Manifest

    def __str__(self) -> str:
        return str(self.owner)

    @property
    def name(self) -> str:
        """Of its owner: a pod's own name is known to the cluster only."""
        return self.owner.name

    @property
    def labels(self) -> dict[str, str]:
        return get(self.template, "metadata.labels", {})

    @property
    def spec(self) -> Manifest:
        return self.template["spec"]

    @property
    def is_long_running(self) -> bool:
        return self.owner.kind in LONG_RUNNING

    @property
    def ports(self) -> dict[str, int]:
        """Of all its containers."""
        return {name: port for container in self.containers for name, port in container.ports.items()}

    @cached_property
    def containers(self) -> list[Container]:
        """All, those that run first included."""
        before = [Container(self, each, initial=True) for each in self.spec.get("initContainers", [])]
        return before + [Container(self, each, initial=False) for each in self.spec["containers"]]

    def get(self, path: str, default: Any = None) -> Any:
        return get(self.spec, path, default)


@dataclass(frozen=True, eq=False)
class Render:
    """What `kubectl apply` would get."""

    name: str
    resources: tuple[Resource, ...]

    def __str__(self) -> str:
        return self.name

    def of(self, *kinds: str) -> list[Resource]:
        """All resources of these kinds."""
        return [resource for resource in self.resources if resource.kind in kinds]

    def find(self, kind: str, name: str) -> Resource | None:
        return next((each for each in self.of(kind) if each.name == name), None)

    @cached_property
    def pods(self) -> list[Pod]:
        return [Pod(each, each.get(TEMPLATES[each.kind])) for each in self.resources if each.kind in TEMPLATES]

    @property
    def containers(self) -> list[Container]:
        return [container for pod in self.pods for container in pod.containers]

    def selected(self, selector: Manifest) -> list[Pod]:
        """The pods that a label selector means; an empty one means all."""
        return [pod for pod in self.pods if selects(selector, pod.labels)]


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Whether a label selector means what has these labels."""
    expressions = selector.get("matchExpressions", [])
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        _holds(each, labels) for each in expressions
    )


def _holds(expression: Manifest, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None


def get(manifest: Manifest, path: str, default: Any = None) -> Any:
    """The value at a dotted path, or `default` where there is none."""
    key, _, rest = path.partition(".")
    if key not in manifest:
        return default
    return get(manifest[key] or {}, rest, default) if rest else manifest[key]


def of_documents(name: str, documents: Iterable[Manifest | None]) -> Render:
    """A render of what a YAML stream holds."""
    return Render(name, tuple(Resource(each) for each in documents if each))
