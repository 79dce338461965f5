"""A real Kubernetes API server on an empty etcd, and nothing else of a cluster: it judges manifests, and runs none."""

import asyncio
import json
import secrets
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from cli.stack.ports import HOST, free_port_base
from cli.stack.program import Program
from cli.stack.supervisor import Supervisor
from tests.eventually import eventually
from tests.k8s.manifests import Manifest

APPLY = ("apply", "--server-side")

BINARIES = {tool: shutil.which(tool) or "" for tool in ("etcd", "kube-apiserver", "kubectl")}
ABSENT = [tool for tool, path in BINARIES.items() if not path]
HOW_TO_GET_THEM = (
    f"needs {', '.join(ABSENT)} on the PATH: `setup-envtest use` downloads them, "
    "or `go install tool` in .ci/kubernetes builds them; .ci/run does either"
)


@dataclass(frozen=True)
class ApiServer:
    """Where it is, and how its administrator calls it."""

    url: str
    home: Path
    token: str
    taken: set[str] = field(default_factory=set[str])
    """What it had nothing against: it is not asked again."""

    async def objections(self, manifests: Iterable[Manifest]) -> str:
        """What it would say against them if they were applied, errors and warnings; nothing if all is well."""
        return await self._asked(manifests, "--dry-run=server")

    async def apply(self, manifests: Iterable[Manifest]) -> None:
        """Keep them. Raises RuntimeError with what it says against that."""
        if objections := await self._asked(manifests, "--dry-run=none"):
            raise RuntimeError(objections)

    async def define(self, definitions: Iterable[Path]) -> None:
        """Serve the custom resources that these files define. Raises RuntimeError."""
        files = (f"--filename={file}" for file in definitions)
        defined = await self._kubectl(*APPLY, *files)
        if objections := defined or await self._kubectl("wait", "--for=condition=Established", "crd", "--all"):
            raise RuntimeError(objections)

    async def is_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/readyz", ssl=False) as response:
                return response.ok
        except aiohttp.ClientError:
            return False

    async def _asked(self, manifests: Iterable[Manifest], how: str) -> str:
        asked = {f"{how} {text}": text for text in map(json.dumps, manifests)}
        texts = [text for key, text in asked.items() if key not in self.taken]
        objections = await self._kubectl(*APPLY, how, "--filename=-", given="\n".join(texts)) if texts else ""
        if not objections:
            self.taken.update(asked)
        return objections

    async def _kubectl(self, *arguments: str, given: str = "") -> str:
        """What it complains about."""
        identity = (
            f"--server={self.url}",
            f"--token={self.token}",
            f"--certificate-authority={_certificate(self.home)}",
        )
        nobody_elses = ("--kubeconfig=/dev/null", f"--cache-dir={self.home / 'cache'}")
        process = await asyncio.create_subprocess_exec(
            BINARIES["kubectl"], *identity, *nobody_elses, *arguments, stdin=PIPE, stdout=DEVNULL, stderr=PIPE
        )
        _, complaints = await process.communicate(given.encode())
        return complaints.decode().strip() or (f"kubectl ended with {process.returncode}" if process.returncode else "")


@asynccontextmanager
async def running(home: Path) -> AsyncGenerator[ApiServer]:
    """Run one that keeps its things in `home`."""
    port = free_port_base()
    server = ApiServer(url=f"https://{HOST}:{port}", home=home, token=secrets.token_urlsafe())
    supervisor = Supervisor(home, restart=False, report=print, changed=lambda: None)
    try:
        await supervisor.start([_etcd(home, port + 1), _kube_apiserver(server, port, etcd=port + 1)])
        await eventually(server.is_ready)
        yield server
    finally:
        await supervisor.stop()


def _etcd(home: Path, port: int) -> Program:
    clients, peers = f"http://{HOST}:{port}", f"http://{HOST}:{port + 1}"
    return Program(
        name="etcd",
        command=(
            BINARIES["etcd"],
            f"--data-dir={home / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            "--unsafe-no-fsync",
        ),
        address=f"{HOST}:{port}",
        probe=f"{clients}/health",
        stop_signal=signal.SIGKILL,
    )


def _kube_apiserver(server: ApiServer, port: int, etcd: int) -> Program:
    """It makes its own certificate, whose key signs the tokens of ServiceAccounts as well."""
    tokens, key = server.home / "tokens.csv", _certificate(server.home).with_suffix(".key")
    tokens.write_text(f"{server.token},administrator,administrator,system:masters\n")
    return Program(
        name="kube-apiserver",
        command=(
            BINARIES["kube-apiserver"],
            f"--bind-address={HOST}",
            f"--secure-port={port}",
            f"--etcd-servers=http://{HOST}:{etcd}",
            f"--cert-dir={key.parent}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            f"--service-account-issuer={server.url}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
        ),
        address=f"{HOST}:{port}",
        probe=f"http://{HOST}:{etcd}/health",  # its own is HTTPS
        stop_signal=signal.SIGKILL,
    )


def _certificate(home: Path) -> Path:
    return home / "certificates" / "apiserver.crt"
