"""How the kubelet sees whether a container has started, can be called, and is alive."""

from collections.abc import Iterator

from cli.stack.layout import SERVICES
from tests.k8s.manifests import Container, Render

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
ACTIONS = ("grpc", "httpGet", "tcpSocket", "exec")
OURS = {service.name for service in SERVICES}


def every_container_is_probed(render: Render) -> Iterator[str]:
    for container in long_running(render):
        for probe in PROBES:
            if action(container, probe) is None:
                yield f"{container}: it has no {probe}"


def alive_means_something_else_than_ready(render: Render) -> Iterator[str]:
    for container in long_running(render):
        if action(container, "livenessProbe") == action(container, "readinessProbe"):
            yield f"{container}: livenessProbe asks what readinessProbe asks"


def services_are_asked_by_grpc(render: Render) -> Iterator[str]:
    for container in long_running(render):
        for probe in PROBES if container.pod.name in OURS else ():
            if container.get(f"{probe}.grpc") is None:
                yield f"{container}: {probe} is not grpc"


def probes_ask_at_ports_that_are_listened_on(render: Render) -> Iterator[str]:
    for container in long_running(render):
        for probe in PROBES:
            port = (action(container, probe) or {}).get("port")
            if port is not None and port not in (*container.ports, *container.ports.values()):
                yield f"{container}: {probe} asks at port {port}, which it does not have"


def long_running(render: Render) -> list[Container]:
    return [each for each in render.containers if each.pod.is_long_running and not each.initial]


def action(container: Container, probe: str) -> dict[str, object] | None:
    """What a probe does, whatever kind of probe it is."""
    found = (container.get(f"{probe}.{name}") for name in ACTIONS)
    return next((each for each in found if each is not None), None)
