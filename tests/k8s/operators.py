"""What operators make of their resources: it is not in the render, but there."""

from collections.abc import Iterator

from tests.k8s.manifests import Manifest, Pod, Render, Resource

POSTGRES = 5432
STATUS = 8000
"""Where the operator asks an instance how it is."""


def pods(render: Render) -> list[Pod]:
    """Those of the render, and the instances of CloudNativePG's clusters."""
    return [*render.pods, *(_instances(cluster) for cluster in render.of("Cluster"))]


def services(render: Render) -> list[Resource]:
    """Those of the render, and what CloudNativePG makes for its clusters."""
    made = [each for cluster in render.of("Cluster") for each in _services(cluster)]
    return [*render.of("Service"), *made]


def _instances(cluster: Resource) -> Pod:
    labels = {"cnpg.io/cluster": cluster.name, **cluster.get("spec.inheritedMetadata.labels", {})}
    ports = [{"name": "postgresql", "containerPort": POSTGRES}, {"name": "status", "containerPort": STATUS}]
    spec = {"containers": [{"name": "postgres", "ports": ports}]}
    return Pod(cluster, {"metadata": {"labels": labels}, "spec": spec})


def _services(cluster: Resource) -> Iterator[Resource]:
    disabled = cluster.get("spec.managed.services.disabledDefaultServices", [])
    for suffix in ("rw", "ro", "r"):
        if suffix not in disabled:
            yield _service(cluster, f"{cluster.name}-{suffix}")
    for additional in cluster.get("spec.managed.services.additional", []):
        yield _service(cluster, additional["serviceTemplate"]["metadata"]["name"])


def _service(cluster: Resource, name: str) -> Resource:
    spec: Manifest = {"selector": {"cnpg.io/cluster": cluster.name}, "ports": [{"port": POSTGRES}]}
    return Resource({"kind": "Service", "metadata": {"name": name}, "spec": spec})
