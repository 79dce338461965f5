"""NetworkPolicies: nobody connects to anybody, but for the connections that the code makes."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from cli.kubernetes.connections import Connection, all_of_them, clients
from cli.kubernetes.manifests import written

NAME = "app.kubernetes.io/name"
DNS = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}

WITHIN = """\
Who may connect to whom in this namespace: a connection is allowed where its client may open it and its server may
accept it. What the kubelet and `kubectl port-forward` do comes from the node, and needs no policy."""

EXTERNAL = """\
What is outside of the namespace has addresses that nobody here knows: its clients may connect to its port anywhere.
Goes with the component network-policies; without it, nothing else would be allowed to them."""

Manifest = dict[str, Any]


def within() -> str:
    """The policies of the namespace, as YAML: nothing is allowed but DNS, and for each workload what it must do."""
    connections = all_of_them()
    workloads = sorted({name for each in connections for name in (each.client, each.server)})
    everybody = [
        _policy("default-deny", {}, policyTypes=["Ingress", "Egress"]),
        _policy("dns", {}, policyTypes=["Egress"], egress=[DNS]),
    ]
    return written(WITHIN, [*everybody, *(_of_workload(name, connections) for name in workloads)])


def external(name: str, server: str, port: int) -> str:
    """The policy for those that connect to `port` of `server`, where that is outside of the namespace, as YAML."""
    pods = {"matchExpressions": [{"key": NAME, "operator": "In", "values": clients(server, port)}]}
    return written(EXTERNAL, [_policy(name, pods, policyTypes=["Egress"], egress=[{"ports": [_port(port)]}])])


def _of_workload(name: str, connections: Iterable[Connection]) -> Manifest:
    """What one workload accepts and opens."""
    accepted = [each for each in connections if each.server == name]
    opened = [each for each in connections if each.client == name]
    return _policy(
        name,
        _pods(name),
        policyTypes=["Ingress", "Egress"],
        ingress=_rules("from", accepted, lambda each: each.client),
        egress=_rules("to", opened, lambda each: each.server),
    )


def _rules(way: str, connections: Iterable[Connection], peer: Callable[[Connection], str]) -> list[Manifest]:
    """A rule for each port, with the peers that it is for."""
    peers: dict[int, list[str]] = defaultdict(list)
    for each in connections:
        peers[each.port].append(peer(each))
    return [
        {way: [{"podSelector": _pods(name)} for name in names], "ports": [_port(port)]}
        for port, names in sorted(peers.items())
    ]


def _policy(name: str, pods: Manifest, **spec: Any) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": pods, **spec},
    }


def _pods(name: str) -> Manifest:
    return {"matchLabels": {NAME: name}}


def _port(number: int) -> Manifest:
    return {"port": number, "protocol": "TCP"}
