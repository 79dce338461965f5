"""Who connects from outside the namespace, and to whom: gateways, KEDA, and the operator of the databases."""

from collections.abc import Iterator

from tests.k8s import addresses, operators
from tests.k8s.addresses import Address
from tests.k8s.manifests import Render, Resource

OUTSIDE = "the outside"
"""All that is in no pod of the namespace: other namespaces, the API server, the world."""
API_SERVER = (443, 6443)


def told(render: Render) -> Iterator[Address]:
    """The addresses that those from outside are told: where routes lead, and what is scaled by."""
    for route in render.of("GRPCRoute", "HTTPRoute"):
        for rule in route.get("spec.rules", []):
            yield from (Address(str(route), backend["name"], backend["port"]) for backend in rule["backendRefs"])
    for scaled in render.of("ScaledObject"):
        yield from _triggers(scaled)


def connections(render: Render) -> Iterator[tuple[str, str, int, str]]:
    """Client, server and port of the connections that they make, and why."""
    for address in told(render):
        if found := addresses.destination(address, render):
            yield from ((OUTSIDE, server.name, found.port, str(address)) for server in found.pods)
    for cluster in render.of("Cluster"):
        for port in (operators.POSTGRES, operators.STATUS):
            yield OUTSIDE, cluster.name, port, "the operator of the databases"
            yield cluster.name, cluster.name, port, "the instances, which follow each other"
        yield from ((cluster.name, OUTSIDE, port, "the instances, by the API server") for port in API_SERVER)


def _triggers(scaled: Resource) -> Iterator[Address]:
    for trigger in scaled.get("spec.triggers", []):
        metadata: dict[str, str] = trigger["metadata"]
        place = f"{scaled}: trigger {trigger['type']}"
        yield from (address for value in metadata.values() for address in addresses.found(place, value))
        if "host" in metadata:
            yield Address(place, metadata["host"], int(metadata["port"]))
