"""What a container is told: its words, its variables, its limits and its first files."""

from collections.abc import Mapping

from tests.k8s import environment
from tests.k8s.manifests import Container, Manifest, Render
from tests.kubelet.network import DOMAIN

UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}


def variables(container: Container, fields: Mapping[str, str], render: Render) -> dict[str, str]:
    """Its environment. `fields` are those of the pod, for the variables that ask for them."""
    told = {**container.manifest, "env": [_of_pod(each, fields) for each in container.get("env", ())]}
    known = environment.environment(Container(container.pod, told, initial=False), render)
    return {name: variable.value for name, variable in known.items()}


def words(container: Container, entrypoint: tuple[str, ...], told: Mapping[str, str]) -> list[str]:
    """What it runs."""
    known = {name: environment.Variable(value) for name, value in told.items()}
    command = [*container.get("command", entrypoint), *container.get("args", ())]
    return [environment.expanded(word, known).value for word in command]


def _of_pod(variable: Manifest, fields: Mapping[str, str]) -> Manifest:
    match variable:
        case {"valueFrom": {"fieldRef": {"fieldPath": path}}}:
            return {"name": variable["name"], "value": fields[path]}
        case _:
            return variable


def memory(container: Container) -> int:
    """How much of it there may be, in bytes."""
    quantity: str = container.get("resources.limits.memory")
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def files(name: str, address: str, nameserver: str, uid: int) -> dict[str, str]:
    """What every container finds in its root, by path."""
    domains = f"{DOMAIN} svc.cluster.local cluster.local"
    return {
        "/etc/resolv.conf": f"nameserver {nameserver}\nsearch {domains}\noptions ndots:5\n",
        "/etc/hosts": f"127.0.0.1 localhost\n{address} {name}\n",
        "/etc/nsswitch.conf": "hosts: files dns\n",
        "/etc/passwd": f"root:x:0:0::/:\nuser:x:{uid}:{uid}::/:\n",
    }
