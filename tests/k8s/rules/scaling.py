"""Who scales what."""

from collections import Counter
from collections.abc import Iterator

from tests.k8s.manifests import Render
from tests.k8s.rules.availability import LEAST

SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


def a_scaler_scales_what_is_there(render: Render) -> Iterator[str]:
    for scaler in render.of(*SCALERS):
        kind = scaler.get("spec.scaleTargetRef.kind", "Deployment")
        name = scaler.get("spec.scaleTargetRef.name")
        if render.find(kind, name) is None:
            yield f"{scaler}: spec.scaleTargetRef {kind} {name} is none of the render"


def scalers_do_not_fight(render: Render) -> Iterator[str]:
    """Neither each other, nor the manifest, which would set its replicas anew whenever it is applied."""
    targets = Counter(scaler.get("spec.scaleTargetRef.name") for scaler in render.of(*SCALERS))
    for name, count in targets.items():
        if count > 1:
            yield f"Deployment {name}: {count} scalers scale it"
    for deployment in render.of("Deployment"):
        if deployment.name in targets and "replicas" in deployment.spec:
            yield f"{deployment}: spec.replicas is given, although it is scaled"


def a_scaler_leaves_enough(render: Render) -> Iterator[str]:
    for scaler in render.of(*SCALERS):
        least = scaler.get("spec.minReplicas", scaler.get("spec.minReplicaCount", 0))
        most = scaler.get("spec.maxReplicas", scaler.get("spec.maxReplicaCount", 0))
        wanted = LEAST.get(scaler.get("spec.scaleTargetRef.name"), 2)
        if least < wanted:
            yield f"{scaler}: it leaves {least} replicas, but {wanted} are needed"
        if most <= least:
            yield f"{scaler}: at most {most} replicas are no more than at least {least}"


def keda_is_let_in_where_it_looks(render: Render) -> Iterator[str]:
    known = {each.name for each in render.of("TriggerAuthentication")}
    for scaler in render.of("ScaledObject"):
        for trigger in scaler.get("spec.triggers", []):
            name = trigger.get("authenticationRef", {}).get("name")
            if name is not None and name not in known:
                yield f"{scaler}: the TriggerAuthentication {name} does not exist"
