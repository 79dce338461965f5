"""The network lets through what the shop says to each other, and nothing else."""

from collections.abc import Iterator

from tests.k8s import network, operators
from tests.k8s.manifests import Manifest, Pod, Render

SHUT: Manifest = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def the_namespace_is_shut_in_both_directions(render: Render) -> Iterator[str]:
    """For pods that nobody thought of, too."""
    if not any(policy.spec == SHUT for policy in render.of("NetworkPolicy")):
        yield "no NetworkPolicy shuts all pods in both directions"


def every_pod_may_ask_for_names(render: Render) -> Iterator[str]:
    for pod in operators.pods(render):
        if not may_ask(render, pod):
            yield f"{pod}: no NetworkPolicy lets it ask for names"


def every_connection_is_allowed(render: Render) -> Iterator[str]:
    allowed = network.allowed(render)
    for edge, reason in network.needed(render).items():
        if edge not in allowed:
            yield f"{edge} is not allowed, but needed by {reason}"


def no_other_connection_is_allowed(render: Render) -> Iterator[str]:
    for edge in sorted(network.allowed(render) - network.needed(render).keys(), key=str):
        yield f"{edge} is allowed, but nobody is told of it"


def whoever_comes_from_outside_is_named(render: Render) -> Iterator[str]:
    """By namespace and pod; where these are, nobody else gets in with them."""
    for policy in render.of("NetworkPolicy"):
        for rule in policy.get("spec.ingress", []):
            for peer in rule.get("from", [{}]):
                if not peer.get("podSelector") or peer.get("namespaceSelector") == {}:
                    yield f"{policy}: it lets in {dict(peer) or 'everybody'}"


def may_ask(render: Render, pod: Pod) -> bool:
    rules = [rule for rule, _ in network.rules(render, pod, "egress")]
    asked = {(port["port"], port.get("protocol", "TCP")) for rule in rules for port in rule.get("ports", [])}
    return {(network.DNS, "UDP"), (network.DNS, "TCP")} <= asked
