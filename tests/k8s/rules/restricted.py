"""The Pod Security Standard `restricted`, with all that it takes over from `baseline`, and a root that is read-only.

https://kubernetes.io/docs/concepts/security/pod-security-standards/; what is for Windows only is left out.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from tests.k8s.manifests import Container, Manifest, Render, get

MODES = ("enforce", "audit", "warn")
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
SECCOMP = ("RuntimeDefault", "Localhost")
SELINUX = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
HANDLERS = (
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
    "lifecycle.preStop",
    "lifecycle.postStart",
)


def the_namespace_enforces_restricted(render: Render) -> Iterator[str]:
    for namespace in render.of("Namespace"):
        labels = namespace.get("metadata.labels", {})
        for mode in MODES:
            level = labels.get(f"pod-security.kubernetes.io/{mode}")
            if level != "restricted":
                yield f"{namespace}: pod-security.kubernetes.io/{mode} is {level}"


def no_pod_lives_in_a_namespace_of_its_node(render: Render) -> Iterator[str]:
    for pod in render.pods:
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(field):
                yield f"{pod}: {field} is true"


def no_pod_changes_the_kernel(render: Render) -> Iterator[str]:
    for pod in render.pods:
        for sysctl in pod.get("securityContext.sysctls", []):
            if sysctl["name"] not in SAFE_SYSCTLS:
                yield f"{pod}: the sysctl {sysctl['name']} is not a safe one"


def no_port_is_the_node_s(render: Render) -> Iterator[str]:
    for container in render.containers:
        for port in container.get("ports", []):
            if port.get("hostPort"):
                yield f"{container}: hostPort is {port['hostPort']}"


def no_handler_names_a_host(render: Render) -> Iterator[str]:
    """A kubelet would connect from the node to wherever it is told."""
    for container in render.containers:
        for handler, action in product(HANDLERS, ("httpGet", "tcpSocket")):
            if container.get(f"{handler}.{action}.host"):
                yield f"{container}: {handler}.{action} names a host"


def no_volume_leads_to_the_node(render: Render) -> Iterator[str]:
    for pod in render.pods:
        for volume in pod.get("volumes", []):
            for kind in volume.keys() - VOLUMES - {"name"}:
                yield f"{pod}: volume {volume['name']} is of the type {kind}"


def nobody_is_root(render: Render) -> Iterator[str]:
    for container in render.containers:
        if security(container, "runAsNonRoot") is not True:
            yield f"{container}: runAsNonRoot is not true"
        if security(container, "runAsUser") == 0:
            yield f"{container}: runAsUser is 0"


def nobody_gains_privileges(render: Render) -> Iterator[str]:
    for container in render.containers:
        own: Manifest = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{container}: allowPrivilegeEscalation is not false"
        if own.get("privileged"):
            yield f"{container}: it is privileged"
        if own.get("procMount", "Default") != "Default":
            yield f"{container}: procMount is {own['procMount']}"


def no_capability_is_kept(render: Render) -> Iterator[str]:
    for container in render.containers:
        if "ALL" not in container.get("securityContext.capabilities.drop", []):
            yield f"{container}: capabilities.drop has no ALL"
        for added in set(container.get("securityContext.capabilities.add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{container}: capabilities.add has {added}"


def the_kernel_s_filters_are_on(render: Render) -> Iterator[str]:
    for container in render.containers:
        seccomp = security(container, "seccompProfile", {}).get("type")
        if seccomp not in SECCOMP:
            yield f"{container}: seccompProfile is {seccomp}"
        if security(container, "appArmorProfile", {}).get("type") == "Unconfined":
            yield f"{container}: appArmorProfile is Unconfined"
        selinux: Manifest = security(container, "seLinuxOptions", {})
        if selinux.get("type", "") not in SELINUX or selinux.get("user") or selinux.get("role"):
            yield f"{container}: seLinuxOptions are {dict(selinux)}"


def no_root_can_be_written(render: Render) -> Iterator[str]:
    for container in render.containers:
        if container.get("securityContext.readOnlyRootFilesystem") is not True:
            yield f"{container}: readOnlyRootFilesystem is not true"


def security(container: Container, field: str, default: object = None) -> Any:
    """A field of a container's security context, or else of its pod's."""
    inherited = container.pod.get(f"securityContext.{field}", default)
    return get(container.manifest, f"securityContext.{field}", inherited)
