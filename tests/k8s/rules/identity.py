"""Who a pod is in the cluster, and what it is told unasked."""

from collections import Counter
from collections.abc import Iterator

from tests.k8s.manifests import Render

CLUSTER_SCOPED = {"Namespace", "PriorityClass"}
NAMESPACE = "ensemble"
NEVER = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ClusterTriggerAuthentication", "GatewayClass")


def every_pod_has_an_account_of_its_own(render: Render) -> Iterator[str]:
    users = Counter(pod.get("serviceAccountName", "default") for pod in render.pods)
    for pod in render.pods:
        account = pod.get("serviceAccountName", "default")
        if render.find("ServiceAccount", account) is None:
            yield f"{pod}: serviceAccountName {account} is none of the render"
        elif users[account] > 1:
            yield f"{pod}: it shares the ServiceAccount {account}"


def no_pod_is_given_a_token(render: Render) -> Iterator[str]:
    for pod in render.pods:
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{pod}: automountServiceAccountToken is not false"
    for account in render.of("ServiceAccount"):
        if account.manifest.get("automountServiceAccountToken") is not False:
            yield f"{account}: automountServiceAccountToken is not false"


def no_pod_is_told_of_services(render: Render) -> Iterator[str]:
    """As variables, one set for each Service: settings that nobody gave."""
    for pod in render.pods:
        if pod.get("enableServiceLinks") is not False:
            yield f"{pod}: enableServiceLinks is not false"


def nothing_reaches_beyond_the_namespace(render: Render) -> Iterator[str]:
    for resource in render.resources:
        if resource.kind in NEVER:
            yield f"{resource}: what it grants or makes is for others"
        elif resource.kind not in CLUSTER_SCOPED and resource.get("metadata.namespace") != NAMESPACE:
            yield f"{resource}: metadata.namespace is {resource.get('metadata.namespace')}, not {NAMESPACE}"
        elif resource.kind == "Namespace" and resource.name != NAMESPACE:
            yield f"{resource}: it is not {NAMESPACE}"


def all_is_labelled_as_part_of_the_shop(render: Render) -> Iterator[str]:
    labels = [(resource, resource.get("metadata.labels", {})) for resource in render.resources]
    for thing, each in [*labels, *((f"the pods of {pod}", pod.labels) for pod in render.pods)]:
        if each.get("app.kubernetes.io/part-of") != NAMESPACE:
            yield f"{thing}: it lacks the label app.kubernetes.io/part-of: {NAMESPACE}"
