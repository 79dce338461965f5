"""What KEDA is told to look at."""

from typing import Any

import pytest
import yaml

from catalogue import model as catalogue
from cli.kubernetes import scaling
from cli.kubernetes.__main__ import ROOT
from cli.stack.layout import SERVICES

CATALOGUE = catalogue.read()
MANIFESTS = list(yaml.safe_load_all(scaling.scaled_objects()))
SCALED = {each["metadata"]["name"]: each["spec"] for each in MANIFESTS if each["kind"] == "ScaledObject"}


def triggers(service: str, kind: str) -> list[dict[str, Any]]:
    return [each for each in SCALED[service]["triggers"] if each["type"] == kind]


def test_every_service_scales_by_itself() -> None:
    assert {name: spec["scaleTargetRef"]["name"] for name, spec in SCALED.items()} == {
        service.name: service.name for service in SERVICES
    }


@pytest.mark.parametrize("service", CATALOGUE.services, ids=lambda service: service.name)
def test_a_service_scales_by_the_lag_of_each_of_its_reactions(service: catalogue.Service) -> None:
    looked_at = {
        (each["metadata"]["stream"], each["metadata"]["consumer"]) for each in triggers(service.name, "nats-jetstream")
    }

    assert looked_at == {(each.stream, each.durable) for each in service.reactions}


def test_the_orchestrator_scales_by_its_sagas_with_a_password_that_no_manifest_says() -> None:
    (trigger,) = triggers("orchestrator", "postgresql")
    (authentication,) = (each for each in MANIFESTS if each["kind"] == "TriggerAuthentication")

    assert not {"password", "connection"} & set(trigger["metadata"])
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "orchestrator-postgres", "key": "password"}
    ]


def test_numbers_are_given_as_text_as_keda_wants_them() -> None:
    values = [value for spec in SCALED.values() for each in spec["triggers"] for value in each["metadata"].values()]

    assert all(isinstance(value, str) for value in values)


def test_replicas_and_cpu_are_those_of_the_component_that_it_takes_the_place_of() -> None:
    autoscaling = ROOT / "k8s/components/autoscaling"
    every = yaml.safe_load((autoscaling / "every-autoscaler.yaml").read_text())["spec"]
    replicas = {
        each["metadata"]["name"]: each["spec"]["minReplicas"]
        for each in yaml.safe_load_all((autoscaling / "autoscalers.yaml").read_text())
    }

    for name, spec in SCALED.items():
        (cpu,) = triggers(name, "cpu")
        target = {"type": cpu["metricType"], "averageValue": cpu["metadata"]["value"]}
        assert target == every["metrics"][0]["resource"]["target"]
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (replicas[name], every["maxReplicas"])
        assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == every["behavior"]
