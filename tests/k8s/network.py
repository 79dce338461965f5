"""Who may connect to whom, by the network policies; and who has to, by what they are told."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.k8s import addresses, operators, outsiders
from tests.k8s.manifests import Manifest, Pod, Render, Resource, selects
from tests.k8s.outsiders import OUTSIDE

DNS = 53


@dataclass(frozen=True)
class Edge:
    """One may connect to the other, at this port."""

    client: str
    server: str
    port: int

    def __str__(self) -> str:
        return f"{self.client} -> {self.server}:{self.port}"


def needed(render: Render) -> dict[Edge, str]:
    """The connections that are made, each with a reason."""
    edges: dict[Edge, str] = {}
    for pod in render.pods:
        for address in addresses.of_pod(pod, render):
            if not address.is_here and (found := addresses.destination(address, render)):
                servers = [each.name for each in found.pods] or [OUTSIDE]
                edges |= {Edge(pod.name, server, found.port): str(address) for server in servers}
    return edges | {Edge(client, server, port): why for client, server, port, why in outsiders.connections(render)}


def allowed(render: Render) -> set[Edge]:
    """The connections that both ends may make, and those with the outside that the end in here may."""
    pods = operators.pods(render)
    inside = {
        Edge(client.name, server.name, port)
        for client in pods
        for server in pods
        for port in server.ports.values()
        if _allows(render, client, "egress", server, port) and _allows(render, server, "ingress", client, port)
    }
    return inside | {edge for pod in pods for edge in _with_outside(render, pod)}


def policies(render: Render, pod: Pod, direction: str) -> list[Resource]:
    """Those that say what may leave (`egress`) or enter (`ingress`) a pod."""
    return [
        policy
        for policy in render.of("NetworkPolicy")
        if direction.capitalize() in policy.get("spec.policyTypes", [])
        and selects(policy.spec["podSelector"], pod.labels)
    ]


def rules(render: Render, pod: Pod, direction: str) -> Iterator[tuple[Manifest, list[Manifest]]]:
    """Each rule for a pod, with the peers that it names."""
    for policy in policies(render, pod, direction):
        for rule in policy.get(f"spec.{direction}", []):
            yield rule, rule.get("to" if direction == "egress" else "from", [])


def ports(rule: Manifest) -> set[int]:
    """The ports that a rule names; none stand for all."""
    spans = [(port["port"], port.get("endPort", port["port"])) for port in rule.get("ports", [])]
    return {port for first, last in spans for port in range(first, last + 1)}


def _allows(render: Render, pod: Pod, direction: str, peer: Pod, port: int) -> bool:
    if not policies(render, pod, direction):
        return True
    return any(
        (not ports(rule) or port in ports(rule)) and (not peers or any(_is_inside(each, peer) for each in peers))
        for rule, peers in rules(render, pod, direction)
    )


def _is_inside(description: Manifest, pod: Pod) -> bool:
    if "podSelector" not in description or "namespaceSelector" in description:
        return False
    return selects(description["podSelector"], pod.labels)


def _with_outside(render: Render, pod: Pod) -> Iterator[Edge]:
    for direction in ("ingress", "egress"):
        for rule, peers in rules(render, pod, direction):
            leads_out = not peers or any("ipBlock" in each or "namespaceSelector" in each for each in peers)
            for port in (ports(rule) or {0}) - {DNS} if leads_out else ():
                yield Edge(pod.name, OUTSIDE, port) if direction == "egress" else Edge(OUTSIDE, pod.name, port)
