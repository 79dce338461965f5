"""Would a cluster take the manifests as they are, under Pod Security `restricted`? A real API server says."""

import copy
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.k8s import api_server, crds
from tests.k8s.api_server import ABSENT, HOW_TO_GET_THEM, ApiServer
from tests.k8s.manifests import Pod, Render
from tests.k8s.render import NAMES, OVERLAYS, rendered

KEPT = ("Namespace", "PriorityClass", "ServiceAccount")
"""Kinds without which others are refused; all else is tried only."""

AS_ROOT = {"securityContext": {"runAsNonRoot": False, "runAsUser": 0}}

of_overlays = pytest.mark.parametrize("render", OVERLAYS, indirect=True)


@pytest.fixture(scope="session")
async def definitions() -> list[Path]:
    try:
        return await crds.files()
    except crds.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
async def server(definitions: list[Path], tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ApiServer]:
    if ABSENT:
        pytest.skip(HOW_TO_GET_THEM)
    async with api_server.running(tmp_path_factory.mktemp("api-server")) as running:
        await running.define(definitions)
        yield running


@pytest.fixture(scope="session", params=NAMES)
async def render(request: pytest.FixtureRequest, server: ApiServer) -> Render:
    """Each, with its namespace there."""
    render = rendered(request.param)
    await server.apply(each.manifest for each in render.of(*KEPT))
    return render


async def test_every_resource_is_taken_without_a_warning(render: Render, server: ApiServer) -> None:
    assert await server.objections(each.manifest for each in render.resources) == ""


async def test_every_pod_is_admitted_as_restricted(render: Render, server: ApiServer) -> None:
    assert await server.objections(bare(pod) for pod in render.pods) == ""


@of_overlays
async def test_a_pod_that_runs_as_root_is_refused(render: Render, server: ApiServer) -> None:
    pod = copy.deepcopy(bare(render.pods[0]))
    pod["spec"].update(AS_ROOT)

    assert 'violates PodSecurity "restricted' in await server.objections([pod])


@of_overlays
async def test_a_deployment_whose_pods_would_run_as_root_is_warned_about(render: Render, server: ApiServer) -> None:
    deployment = copy.deepcopy(render.of("Deployment")[0].manifest)
    deployment["spec"]["template"]["spec"].update(AS_ROOT)

    assert 'would violate PodSecurity "restricted' in await server.objections([deployment])


@of_overlays
@pytest.mark.parametrize("kind", ["Deployment", "NetworkPolicy", "PodDisruptionBudget"])
async def test_a_field_that_does_not_exist_is_refused(kind: str, render: Render, server: ApiServer) -> None:
    manifest = copy.deepcopy(render.of(kind)[0].manifest)
    manifest["spec"]["misspelt"] = True

    assert "misspelt" in await server.objections([manifest])


def bare(pod: Pod) -> dict[str, Any]:
    """A pod of this kind, with no owner that would make it."""
    namespace = pod.owner.get("metadata.namespace")
    claims = [
        {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
        for claim in pod.owner.get("spec.volumeClaimTemplates", [])
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": namespace, "labels": pod.labels},
        "spec": {**pod.spec, "volumes": [*pod.get("volumes", []), *claims]},
    }
