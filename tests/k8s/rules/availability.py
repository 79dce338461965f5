"""What keeps the shop open while nodes, zones and versions come and go."""

import re
from collections.abc import Iterator
from fractions import Fraction
from math import ceil

from cli.stack.layout import ORCHESTRATOR, SERVICES
from tests.k8s.environment import config_maps_of, contents
from tests.k8s.manifests import Manifest, Pod, Render, Resource

LEAST = {service.name: 3 if service.package == ORCHESTRATOR else 2 for service in SERVICES}
"""So many pods there are of each of our services."""
DOMAINS = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
SINGLE = 1
BROKER = "nats.conf"
LAME_DUCK = re.compile(r'^lame_duck_(?:duration|grace_period): "(\d+)s"$', re.MULTILINE)


def there_is_more_than_one_of_each_service(render: Render) -> Iterator[str]:
    for name, least in LEAST.items():
        deployment = render.find("Deployment", name)
        if deployment is None:
            yield f"Deployment {name}: there is none"
        elif replicas(render, deployment) < least:
            yield f"{deployment}: {replicas(render, deployment)} replicas, but {least} are needed"


def pods_are_spread_over_nodes_and_zones(render: Render) -> Iterator[str]:
    for pod in replicated(render):
        constraints = {each["topologyKey"]: each for each in pod.get("topologySpreadConstraints", [])}
        for domain in DOMAINS:
            if domain not in constraints:
                yield f"{pod}: its pods are not spread over {domain}"
            elif counted(render, pod, constraints[domain]) != [pod]:
                yield f"{pod}: to be spread over {domain}, other pods than its own are counted"


def every_replicated_workload_has_a_budget(render: Render) -> Iterator[str]:
    budgets = [(each, render.selected(each.get("spec.selector"))) for each in disruption_budgets(render)]
    for budget, pods in budgets:
        if len(pods) != 1:
            yield f"{budget}: it selects the pods of {', '.join(map(str, pods)) or 'nobody'}"
    for pod in replicated(render):
        count = sum(pod in pods for _, pods in budgets)
        if count != 1:
            yield f"{pod}: {count} PodDisruptionBudgets select its pods"


def a_budget_leaves_room_for_an_eviction(render: Render) -> Iterator[str]:
    for budget in disruption_budgets(render):
        for pod in render.selected(budget.get("spec.selector")):
            count = replicas(render, pod.owner)
            if evictable(budget, count) < 1:
                yield f"{budget}: of {count} pods, none may be evicted"


def a_rolling_update_takes_none_away_first(render: Render) -> Iterator[str]:
    for deployment in render.of("Deployment"):
        if replicas(render, deployment) > SINGLE and deployment.get("spec.strategy.rollingUpdate.maxUnavailable") != 0:
            yield f"{deployment}: spec.strategy.rollingUpdate.maxUnavailable is not 0"


def a_broker_is_given_the_time_to_hand_over(render: Render) -> Iterator[str]:
    for config in (each for each in render.of("ConfigMap") if BROKER in contents(each)):
        walk = sum(int(seconds) for seconds in LAME_DUCK.findall(contents(config)[BROKER]))
        for pod in (each for each in render.pods if (config.name, None) in config_maps_of(each)):
            grace = pod.get("terminationGracePeriodSeconds", 30)
            if grace <= walk:
                yield f"{pod}: {grace} s of grace are no more than the {walk} s of its lame duck"


def priority_classes_exist(render: Render) -> Iterator[str]:
    for pod in render.pods:
        name = pod.get("priorityClassName")
        if name is None or render.find("PriorityClass", name) is None:
            yield f"{pod}: priorityClassName {name} is none of the render"


def containers_say_what_they_need(render: Render) -> Iterator[str]:
    for container in render.containers:
        for kind in ("requests", "limits"):
            for resource in ("cpu", "memory"):
                if container.get(f"resources.{kind}.{resource}") is None:
                    yield f"{container}: resources.{kind}.{resource} is not given"


def images_have_a_version(render: Render) -> Iterator[str]:
    for container in render.containers:
        image: str = container.get("image", "")
        tag = image.rpartition("/")[2].partition(":")[2]
        if "@" not in image and tag in ("", "latest"):
            yield f"{container}: the image {image} has no version"


def a_database_cluster_survives_the_loss_of_one(render: Render) -> Iterator[str]:
    for cluster in render.of("Cluster"):
        synchronous = cluster.get("spec.postgresql.synchronous", {})
        wanted = {"method": "any", "number": 1, "dataDurability": "required", "failoverQuorum": True}
        if cluster.get("spec.instances", 1) < 3:
            yield f"{cluster}: spec.instances is less than 3"
        if synchronous | wanted != synchronous:
            yield f"{cluster}: spec.postgresql.synchronous is {synchronous}, not {wanted}"
        if seconds := cluster.get("spec.smartShutdownTimeout", 180):
            yield f"{cluster}: a former primary keeps its clients for {seconds} s (spec.smartShutdownTimeout)"


def replicated(render: Render) -> list[Pod]:
    return [pod for pod in render.pods if pod.is_long_running and replicas(render, pod.owner) > SINGLE]


def replicas(render: Render, workload: Resource) -> int:
    """The least that there are; where it is scaled, the scaler says so."""
    for scaler in render.of("HorizontalPodAutoscaler", "ScaledObject"):
        if scaler.get("spec.scaleTargetRef.name", "") == workload.name:
            return scaler.get("spec.minReplicas", scaler.get("spec.minReplicaCount", 0))
    return workload.get("spec.replicas", 1)


def disruption_budgets(render: Render) -> list[Resource]:
    return render.of("PodDisruptionBudget")


def evictable(budget: Resource, count: int) -> int:
    """How many of so many healthy pods may be evicted at once."""
    if (least := budget.get("spec.minAvailable")) is not None:
        return count - absolute(least, count)
    return absolute(budget.get("spec.maxUnavailable", 0), count)


def absolute(value: int | str, count: int) -> int:
    """Kubernetes rounds percentages up, both those that must be there and those that may be away."""
    return ceil(Fraction(value.removesuffix("%")) * count / 100) if isinstance(value, str) else value


def counted(render: Render, pod: Pod, constraint: Manifest) -> list[Pod]:
    """Whose pods count when one of these is spread: `matchLabelKeys` stand for its own labels of that name."""
    own = {key: pod.labels[key] for key in constraint.get("matchLabelKeys", []) if key in pod.labels}
    return [each for each in render.selected(constraint.get("labelSelector", {})) if own.items() <= each.labels.items()]
