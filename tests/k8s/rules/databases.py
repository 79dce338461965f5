"""Whoever has a database finds it made, with a role that may enter by the password that it is told."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from mesh.postgres.database import POOL_SIZE
from tests.k8s.environment import Variable, environment
from tests.k8s.manifests import Container, Render, Resource

URL = "ENSEMBLE_DATABASE_URL"
CONNECTIONS = POOL_SIZE + 1
"""Of one replica: its pool, and one for its lease, or while it starts for its migrations."""
ALLOWED = re.compile(r"max_connections=(\d+)")


def every_database_is_made_by_the_cluster(render: Render) -> Iterator[str]:
    for cluster in render.of("Cluster"):
        owners = {database.spec["name"]: database.spec["owner"] for database in render.of("Database")}
        for container, variable in told(render):
            url = urlsplit(variable.value)
            if owners.get(url.path.strip("/")) != url.username:
                yield f"{container}: env {URL}: no Database {url.path.strip('/')} belongs to {url.username}"
            if password_of(cluster, url.username) not in variable.secrets:
                yield f"{container}: env {URL}: {cluster} knows {url.username} by another password"


def every_replica_there_can_be_gets_its_connections(render: Render) -> Iterator[str]:
    """Also in the middle of a roll-out."""
    wanted = sum(CONNECTIONS * most(render, container.pod.owner) for container, _ in told(render))
    for server, allowed in servers(render):
        if wanted > allowed:
            yield f"{server}: it allows {allowed} connections, but there may be {wanted}"


def backups_can_be_made_and_outlive_what_they_are_of(render: Render) -> Iterator[str]:
    for backup in render.of("ScheduledBackup"):
        cluster = render.find("Cluster", backup.get("spec.cluster.name"))
        method = backup.get("spec.method")
        if cluster is None or method not in cluster.get("spec.backup", {}):
            yield f"{backup}: its cluster has no section spec.backup.{method}"
        elif cluster.get(f"spec.backup.{method}").get("snapshotOwnerReference", "none") != "none":
            yield f"{cluster}: its snapshots go when it goes"
        if backup.get("spec.backupOwnerReference", "none") != "none":
            yield f"{backup}: its backups go with {backup.get('spec.backupOwnerReference')}"


def servers(render: Render) -> Iterator[tuple[Resource, int]]:
    """Those of the render, and how many connections they allow."""
    for cluster in render.of("Cluster"):
        yield cluster, int(cluster.get("spec.postgresql.parameters", {})["max_connections"])
    for container in render.containers:
        for allowed in ALLOWED.findall(" ".join(container.get("args", []))):
            yield container.pod.owner, int(allowed)


def most(render: Render, workload: Resource) -> int:
    """The most pods that there are of it, with those that a roll-out adds."""
    surge = workload.get("spec.strategy.rollingUpdate.maxSurge", 0)
    for scaler in render.of("HorizontalPodAutoscaler", "ScaledObject"):
        if scaler.get("spec.scaleTargetRef.name") == workload.name:
            return scaler.get("spec.maxReplicas", scaler.get("spec.maxReplicaCount", 0)) + surge
    return workload.get("spec.replicas", 1) + surge


def told(render: Render) -> Iterator[tuple[Container, Variable]]:
    """Those who are told of a database, and how."""
    for container in render.containers:
        if variable := environment(container, render).get(URL):
            yield container, variable


def password_of(cluster: Resource, role: str | None) -> str | None:
    """The Secret that a role of the cluster enters by."""
    roles = {each["name"]: each for each in cluster.get("spec.managed.roles", [])}
    return roles.get(role, {}).get("passwordSecret", {}).get("name")
