"""What one resource says of another is true."""

from collections import Counter
from collections.abc import Callable, Iterator

from tests.k8s.environment import REFERENCE, config_maps_of, contents, environment, expanded, secrets_of
from tests.k8s.manifests import Pod, Render, Resource

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
GRPC = 50051


def names_are_unique(render: Render) -> Iterator[str]:
    for each, count in Counter(map(str, render.resources)).items():
        if count > 1:
            yield f"{each}: there are {count}"


def workloads_select_their_own_pods(render: Render) -> Iterator[str]:
    for workload in render.of(*WORKLOADS):
        owners = [pod.owner for pod in render.selected(workload.get("spec.selector", {}))]
        if owners != [workload]:
            yield f"{workload}: spec.selector selects the pods of {', '.join(map(str, owners)) or 'nobody'}"


def services_lead_to_pods_that_listen(render: Render) -> Iterator[str]:
    for service in render.of("Service"):
        if service.get("spec.type") == "ExternalName":
            continue
        pods = render.selected({"matchLabels": service.get("spec.selector", {})})
        if len(pods) != 1:
            yield f"{service}: spec.selector selects the pods of {', '.join(map(str, pods)) or 'nobody'}"
        for pod in pods:
            for port in service.get("spec.ports", []):
                target = port.get("targetPort", port["port"])
                if target not in (*pod.ports, *pod.ports.values()):
                    yield f"{service}: port {port['port']} leads to {target}, on which {pod} does not listen"


def services_of_grpc_are_headless(render: Render) -> Iterator[str]:
    """One address of a Service would be one connection, and that one pod."""
    for service in render.of("Service"):
        ports = [port["port"] for port in service.get("spec.ports", [])]
        if GRPC in ports and service.get("spec.clusterIP") != "None":
            yield f"{service}: spec.clusterIP is not None"


def sets_are_named_by_headless_services(render: Render) -> Iterator[str]:
    for workload in render.of("StatefulSet"):
        service = render.find("Service", workload.get("spec.serviceName", ""))
        if service is None or service.get("spec.clusterIP") != "None":
            yield f"{workload}: spec.serviceName {workload.get('spec.serviceName')} is no headless Service"


def config_maps_exist(render: Render) -> Iterator[str]:
    yield from missing(render, "ConfigMap", config_maps_of)


def secrets_exist(render: Render) -> Iterator[str]:
    """Where the render has any: if it has none, it is somebody else who brings them."""
    if render.of("Secret"):
        yield from missing(render, "Secret", secrets_of)


def volumes_exist(render: Render) -> Iterator[str]:
    for container in render.containers:
        there = {volume["name"] for volume in container.pod.get("volumes", [])} | set(claims(container.pod))
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in there:
                yield f"{container}: the volume {mount['name']} does not exist"
    for pod in render.pods:
        for volume in pod.get("volumes", []):
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and render.find("PersistentVolumeClaim", claim) is None:
                yield f"{pod}: the PersistentVolumeClaim {claim} does not exist"


def variables_are_known(render: Render) -> Iterator[str]:
    for container in render.containers:
        known = environment(container, render)
        for name, variable in known.items():
            for unknown in REFERENCE.findall(variable.value):
                yield f"{container}: env {name} refers to {unknown[1]}, which is not set before it"
        for arg in container.args:
            for unknown in REFERENCE.findall(expanded(arg, known).value):
                yield f"{container}: args refer to {unknown[1]}, which is not set"


def missing(render: Render, kind: str, references: Callable[[Pod], Iterator[tuple[str, str | None]]]) -> Iterator[str]:
    for pod in render.pods:
        for name, key in references(pod):
            found: Resource | None = render.find(kind, name)
            if found is None:
                yield f"{pod}: the {kind} {name} does not exist"
            elif key is not None and key not in contents(found):
                yield f"{pod}: the {kind} {name} has no {key}"


def claims(pod: Pod) -> list[str]:
    """The volumes that a StatefulSet makes for each of its pods."""
    return [claim["metadata"]["name"] for claim in pod.owner.get("spec.volumeClaimTemplates", [])]
