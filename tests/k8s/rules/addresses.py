"""Whoever is told of somebody can find them."""

from collections.abc import Iterator

from tests.k8s import addresses, outsiders
from tests.k8s.manifests import Render


def every_address_leads_to_a_port_of_a_pod(render: Render) -> Iterator[str]:
    for pod in render.pods:
        for address in addresses.of_pod(pod, render):
            if address.is_here:
                if address.port not in pod.ports.values() and address.host != "127.0.0.1":
                    yield f"{address}: the pod has no such port"
                continue
            found = addresses.destination(address, render)
            if found is None:
                yield f"{address}: no Service of the render has that name and port"
            elif any(found.port not in each.ports.values() for each in found.pods):
                yield f"{address}: {found.pods[0]} does not listen on {found.port}"


def those_outside_are_told_what_is_there(render: Render) -> Iterator[str]:
    """Gateways where their routes lead, and KEDA what it scales by."""
    for address in outsiders.told(render):
        if addresses.destination(address, render) is None:
            yield f"{address}: no Service of the render has that name and port"
