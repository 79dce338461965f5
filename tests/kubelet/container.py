"""A container: processes that see their own files, their own network and nothing else. runc makes it."""

import asyncio
import json
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubelet import command
from tests.kubelet.command import CommandFailed

MERGED = ("/bin", "/lib", "/lib64")
"""Links into /usr, as everywhere nowadays."""
KILL_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine, and where the container finds it."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Plan:
    """What a container is made of. It has no capabilities, and can get none."""

    args: Sequence[str]
    environment: Mapping[str, str]
    mounts: Sequence[Mount]
    namespace: Path
    """Of its network."""
    files: Mapping[str, str]
    """What its root holds besides the mounts: text by path."""
    hostname: str
    uid: int
    gid: int
    groups: Sequence[int]
    read_only: bool
    memory: int
    """Bytes it may use."""


class Container:
    """One run of a plan, below `folder`. What it prints is appended to `log`."""

    def __init__(self, name: str, plan: Plan, folder: Path, log: Path) -> None:
        self._name = name
        self._plan = plan
        self._folder = folder
        self._log = log
        self._runc = ("runc", "--root", str(folder / "runc"))
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns once it runs, or has ended."""
        self._make_root()
        configuration = _configured(json.loads(await self._specification()), self._plan)
        (self._folder / "config.json").write_text(json.dumps(configuration))
        pid = self._folder / "pid"
        pid.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._runc,
                *("run", "--bundle", str(self._folder), "--pid-file", str(pid), self._name),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        while not pid.exists() and self._process.returncode is None:
            await asyncio.sleep(0.02)

    async def ended(self) -> int:
        """Its exit status, once it has one."""
        assert self._process is not None
        return await self._process.wait()

    async def send(self, number: signal.Signals) -> None:
        """One that has ended hears nothing."""
        with suppress(CommandFailed):
            await command.run(*self._runc, "kill", self._name, number.name)

    async def kill(self) -> None:
        """Returns once it has ended."""
        while True:
            await self.send(signal.SIGKILL)
            try:
                await asyncio.wait_for(self.ended(), KILL_AGAIN_SECONDS)
            except TimeoutError:
                continue
            return

    async def execute(self, words: Sequence[str]) -> str:
        """What a command prints that is run inside. Raises CommandFailed."""
        return await command.run(*self._runc, "exec", self._name, *words)

    async def _specification(self) -> str:
        path = self._folder / "config.json"
        path.unlink(missing_ok=True)
        await command.run("runc", "spec", "--bundle", str(self._folder))
        return path.read_text()

    def _make_root(self) -> None:
        root = self._folder / "rootfs"
        for path, text in self._plan.files.items():
            file = root / path.removeprefix("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for link in MERGED:
            if not (root / link[1:]).is_symlink():
                (root / link[1:]).symlink_to(f"usr{link}")


def _configured(specification: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """The example of a configuration that runc itself gives, turned into ours."""
    specification["hostname"] = plan.hostname
    specification["root"] = {"path": "rootfs", "readonly": plan.read_only}
    specification["process"] |= {
        "terminal": False,
        "user": {"uid": plan.uid, "gid": plan.gid, "additionalGids": list(plan.groups)},
        "args": list(plan.args),
        "env": [f"{name}={value}" for name, value in plan.environment.items()],
        "capabilities": {},
        "noNewPrivileges": True,
        "rlimits": [],
    }
    specification["mounts"] += [
        {
            "type": "bind",
            "source": str(mount.source),
            "destination": mount.target,
            "options": ["rbind", "rw" if mount.writable else "ro", "nosuid"],
        }
        for mount in plan.mounts
    ]
    linux = specification["linux"]
    linux["resources"]["memory"] = {"limit": plan.memory}
    for namespace in linux["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = str(plan.namespace)
    return specification
