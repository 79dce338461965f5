"""The definitions of the custom resources that the components use, from the modules of those who define them."""

import asyncio
import json
import os
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Iterable
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"

SOURCES = {
    "github.com/cloudnative-pg/cloudnative-pg@v1.30.0": (
        "config/crd/bases/postgresql.cnpg.io_backups.yaml",
        "config/crd/bases/postgresql.cnpg.io_clusters.yaml",
        "config/crd/bases/postgresql.cnpg.io_databases.yaml",
        "config/crd/bases/postgresql.cnpg.io_scheduledbackups.yaml",
    ),
    "github.com/kedacore/keda/v2@v2.21.0": (
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ),
    "github.com/prometheus-operator/prometheus-operator@v0.94.1": (
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "sigs.k8s.io/gateway-api@v1.6.3": (
        "config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
        "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml",
    ),
}
"""Go modules at their versions, and the files of each that define what is used here."""


class Unavailable(Exception):
    """The definitions cannot be had here; it says why."""


async def files() -> list[Path]:
    """One of each custom resource; downloaded unless they were before. Raises Unavailable."""
    return [kept for module, paths in SOURCES.items() for kept in await _kept(module, paths)]


async def _kept(module: str, paths: Iterable[str]) -> list[Path]:
    home = CACHE / "k8s" / "crds" / module.replace("/", "_")
    kept = {path: home / Path(path).name for path in paths}
    if not all(file.exists() for file in kept.values()):
        downloaded = await _downloaded(module)
        home.mkdir(parents=True, exist_ok=True)
        for path, file in kept.items():
            shutil.copyfile(downloaded / path, file)
    return list(kept.values())


async def _downloaded(module: str) -> Path:
    """Where Go has put it, which is inside the checkout and can be removed."""
    if shutil.which("go") is None:
        raise Unavailable(f"needs go, to download {module}")
    environment = os.environ | {"GOMODCACHE": str(CACHE / "go/pkg/mod"), "GOFLAGS": "-modcacherw"}
    process = await asyncio.create_subprocess_exec(
        "go", "mod", "download", "-json", module, env=environment, stdout=PIPE, stderr=PIPE
    )
    said, complained = await process.communicate()
    answer = json.loads(said or b"{}")
    if "Dir" not in answer:
        raise Unavailable(f"go cannot download {module}: {answer.get('Error') or complained.decode()}")
    return Path(answer["Dir"])
