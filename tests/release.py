"""Releases side by side: the one before, and ours; each process runs the one that its link leads to."""

import asyncio
import signal
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

from cli.stack.layout import label
from cli.stack.program import Program
from cli.stack.readiness import is_ready
from tests.eventually import eventually
from tests.history import ROOT, git, release_before
from tests.shop import OwnShop

OURS = ROOT
CODE = ("mesh", "services", "orchestrator", "gen")


@dataclass(frozen=True)
class Releases:
    """Deploys the release before, or ours."""

    folder: Path
    before: Path

    def at_first(self, program: Program) -> Program:
        """The program, to be run from wherever its link leads: the release before."""
        link = self._link(program.name, program.replica)
        link.symlink_to(self.before)
        return replace(program, settings={**program.settings, "PYTHONPATH": f"{link}:{link / 'gen'}"})

    async def deploy(self, shop: OwnShop, name: str, replica: int, release: Path) -> None:
        """Drain a replica of a service, and start it again from that release. Returns once it is ready."""
        link = self._link(name, replica)
        link.unlink()
        link.symlink_to(release)
        await shop.end(link.name, signal.SIGTERM)
        address = shop.stack.topology.layout.address(name, replica)
        await eventually(lambda: is_ready(f"grpc://{address}"))

    def _link(self, name: str, replica: int) -> Path:
        return self.folder / label(name, replica)


async def checked_out(folder: Path) -> Releases:
    """The release before ours, below `folder`. Skips the test where git has no history."""
    before = folder / "before"
    archive = await asyncio.to_thread(git, "archive", "--format=zip", release_before(), *CODE)
    with ZipFile(BytesIO(archive)) as files:
        files.extractall(before)
    return Releases(folder, before)
