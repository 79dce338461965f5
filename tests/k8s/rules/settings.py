"""What a process of ours is told is what it asks for: its settings are read from its code."""

import importlib
import inspect
import json
import os
from collections.abc import Iterator
from unittest.mock import patch

from opentelemetry.sdk import environment_variables
from structlog.testing import capture_logs

from cli.stack.layout import SERVICES
from mesh.settings import Settings, load
from tests.k8s import addresses
from tests.k8s.environment import environment
from tests.k8s.manifests import Container, Render

PROGRAM = "-m"
DRAIN = "drain_seconds"
STANDARD = {name for name in vars(environment_variables) if name.startswith("OTEL_")}


def every_process_takes_its_settings(render: Render) -> Iterator[str]:
    """All that it requires, nothing that it does not know, and each of them valid: it is asked itself."""
    for container in ours(render):
        if settings := settings_class(container):
            yield from (f"{container}: {problem}" for problem in problems(settings, told(container, render)))


def telemetry_is_told_what_it_knows(render: Render) -> Iterator[str]:
    for container in render.containers:
        for name in sorted(environment(container, render)):
            if name.startswith("OTEL_") and name not in STANDARD:
                yield f"{container}: env {name} is not known to OpenTelemetry"


def nobody_is_told_the_settings_of_another(render: Render) -> Iterator[str]:
    for container in render.containers:
        if settings_class(container) is None:
            for name in environment(container, render):
                if name.startswith("ENSEMBLE_"):
                    yield f"{container}: env {name} is read by nobody"


def every_service_is_told_its_peers(render: Render) -> Iterator[str]:
    packages = {service.package: service.name for service in SERVICES}
    for service in SERVICES:
        deployment = render.find("Deployment", service.name)
        for container in (each for each in render.containers if each.pod.owner is deployment):
            peers = json.loads(told(container, render).get("ENSEMBLE_PEERS", "{}"))
            if peers.keys() != set(service.peers):
                yield f"{container}: env ENSEMBLE_PEERS names {sorted(peers)}, but it calls {sorted(service.peers)}"
            for package, target in peers.items():
                found = [addresses.destination(each, render) for each in addresses.found(package, target)]
                if [pod.name for each in found if each for pod in each.pods] != [packages.get(package)]:
                    yield f"{container}: env ENSEMBLE_PEERS seeks {package} at {target}, where it is not"


def a_pod_is_given_the_time_to_drain(render: Render) -> Iterator[str]:
    for container in ours(render):
        if (settings := settings_class(container)) is None:
            continue
        drain = float(told(container, render).get("ENSEMBLE_DRAIN_SECONDS") or settings.model_fields[DRAIN].default)
        wait = container.get("lifecycle.preStop.sleep.seconds", 0)
        grace = container.pod.get("terminationGracePeriodSeconds", 30)
        if grace <= wait + drain:
            yield f"{container}: {grace} s of grace are no more than {wait} s of preStop and {drain:.0f} s of drain"


def ours(render: Render) -> list[Container]:
    """The containers that run a module of ours."""
    return [each for each in render.containers if each.args[:1] == [PROGRAM]]


def settings_class(container: Container) -> type[Settings] | None:
    """What the module of a container reads: of the settings that it knows, those that extend the others."""
    if container.args[:1] != [PROGRAM]:
        return None
    name = container.args[1]
    module = importlib.import_module(name if name.startswith("cli.") else f"{name}.__main__")
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass) if issubclass(each, Settings)]
    return max(classes, key=lambda each: len(each.__mro__), default=None)


def told(container: Container, render: Render) -> dict[str, str]:
    return {name: variable.value for name, variable in environment(container, render).items()}


def problems(settings: type[Settings], variables: dict[str, str]) -> list[str]:
    """What a process would say of these variables when it starts."""
    with patch.dict(os.environ, variables, clear=True), capture_logs() as logs:
        try:
            load(settings)
        except SystemExit:
            return logs[-1]["problems"]
    return []
