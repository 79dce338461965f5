"""A password is known to those who need it."""

from collections.abc import Iterator

from tests.k8s.environment import contents, environment, expanded, secrets_of
from tests.k8s.manifests import Container, Render

OPERATOR = "streams"
"""The Job that works as the operator of NATS."""
LITERALS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ConfigMap", "ScaledObject")


def a_secret_is_referred_to_by_its_owners_only(render: Render) -> Iterator[str]:
    """`payment-nats` by payment, and by NATS, which lets it in."""
    for pod in render.pods:
        for name, _ in secrets_of(pod):
            if pod.name not in owners(name):
                yield f"{pod}: it refers to the Secret {name}, which is of {' and '.join(owners(name))}"


def no_secret_is_an_argument(render: Render) -> Iterator[str]:
    """Arguments are read by whoever lists the processes of a node."""
    for container in render.containers:
        known = environment(container, render)
        for arg in arguments(container):
            for secret in sorted(expanded(arg, known).secrets):
                yield f"{container}: an argument or command shows the Secret {secret}"


def no_secret_stands_elsewhere(render: Render) -> Iterator[str]:
    values = {
        value: secret for secret in render.of("Secret") for key, value in contents(secret).items() if key != "username"
    }
    for resource in render.of(*LITERALS):
        for value, secret in values.items():
            if value and value in str(resource.manifest):
                yield f"{resource}: what {secret} holds stands in it"


def owners(secret: str) -> list[str]:
    """Of `payment-nats`: who comes with it, and who lets it in."""
    user, _, backend = secret.partition("-")
    return [OPERATOR if user == "operator" else user, backend] if user not in (backend, "routes") else [backend]


def arguments(container: Container) -> Iterator[str]:
    """Of the container, of its probes and of its handlers."""
    yield from container.args
    for handler in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle.preStop", "lifecycle.postStart"):
        yield from container.get(f"{handler}.exec.command", [])
