"""Who is told of whom: every `host:port` in what a pod is given, and where it leads in the render."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.k8s import operators
from tests.k8s.environment import config_maps_of, contents, environment, expanded
from tests.k8s.manifests import Pod, Render, Resource

USERINFO = re.compile(r"//[^@/\s]*@")
ADDRESS = re.compile(r"(?<![\w.:-])(?!\d+:)(\w[\w.-]*|):(\d{2,5})(?![\w:.])")
NAMESPACE = "ensemble"
HERE = ("", "0.0.0.0", "127.0.0.1", "localhost")  # noqa: S104 - nothing is bound to it


@dataclass(frozen=True)
class Address:
    """One that stands in some place: a variable, an argument, a file."""

    place: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.place}: {self.host}:{self.port}"

    @property
    def is_here(self) -> bool:
        """Whether it is the pod's own."""
        return self.host in HERE


@dataclass(frozen=True)
class Destination:
    """The pods that an address leads to, and at which port of theirs; without pods, it is outside the render."""

    pods: list[Pod]
    port: int


def of_pod(pod: Pod, render: Render) -> Iterator[Address]:
    """All addresses in its variables, its arguments and its files."""
    for container in pod.containers:
        variables = environment(container, render)
        for name, variable in variables.items():
            yield from found(f"{container}: env {name}", variable.value)
        for arg in container.args:
            yield from found(f"{container}: args", expanded(arg, variables).value)
    for name, _ in config_maps_of(pod):
        config = render.find("ConfigMap", name)
        for file, text in (contents(config) if config else {}).items():
            yield from found(f"{pod}: {file} of ConfigMap {name}", text)


def found(place: str, text: str) -> Iterator[Address]:
    """The addresses in a text, whether alone, in a URL or in a list."""
    for host, port in ADDRESS.findall(USERINFO.sub("//", text)):
        yield Address(place, host, int(port))


def destination(address: Address, render: Render) -> Destination | None:
    """Where an address leads; None if nowhere."""
    name, pod_name = service_and_pod(address.host)
    service = next((each for each in operators.services(render) if each.name == name), None)
    if service is None:
        return None
    port = next((each for each in service.get("spec.ports", []) if each["port"] == address.port), None)
    if port is None:
        return None
    if service.get("spec.type") == "ExternalName":
        return Destination([], address.port)
    pods = _selected(service, pod_name, render)
    return Destination(pods, _number(pods[0], port.get("targetPort", address.port))) if pods else None


def service_and_pod(host: str) -> tuple[str, str | None]:
    """The Service that a host stands for, and the pod if it is one of a StatefulSet's."""
    parts = re.sub(rf"\.{NAMESPACE}(\.svc(\.cluster\.local)?)?$", "", host).split(".")
    return (parts[0], None) if len(parts) == 1 else (".".join(parts[1:]), parts[0])


def _selected(service: Resource, pod_name: str | None, render: Render) -> list[Pod]:
    selector = service.get("spec.selector", {})
    pods = [pod for pod in operators.pods(render) if selector.items() <= pod.labels.items()]
    if pod_name is None:
        return pods
    return [pod for pod in pods if pod.owner.get("spec.serviceName") == service.name and _has(pod.owner, pod_name)]


def _has(workload: Resource, pod_name: str) -> bool:
    """Whether a StatefulSet has the pod, which is numbered."""
    return pod_name in (f"{workload.name}-{number}" for number in range(workload.get("spec.replicas", 1)))


def _number(pod: Pod, port: int | str) -> int:
    return pod.ports.get(port, 0) if isinstance(port, str) else port
