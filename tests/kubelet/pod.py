"""A pod, from its first breath to its last."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from mesh.background import ended
from tests.k8s import manifests
from tests.k8s.manifests import Manifest, Render
from tests.kubelet import probes, settings
from tests.kubelet.command import CommandFailed
from tests.kubelet.container import Container, Plan
from tests.kubelet.images import Image
from tests.kubelet.network import Link, Network
from tests.kubelet.probes import verdicts
from tests.kubelet.volumes import Volumes

GRACE_SECONDS = 30
BACK_OFF_SECONDS, MAX_BACK_OFF_SECONDS = 10, 300
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Node:
    """What pods run on."""

    folder: Path
    network: Network
    render: Render
    rewired: Callable[[], Awaitable[None]]
    """To be awaited when a pod has got its address, and before it gives it back."""
    report: Callable[[str], None]


class Pod:
    """One container, kept running until the pod is ended, or until it ends by itself if it is a Job's."""

    def __init__(self, node: Node, name: str, made_of: manifests.Pod, image: Image, claims: Mapping[str, Path]) -> None:
        self.name = name
        self.made_of = made_of
        self.labels = made_of.labels
        self.link: Link | None = None
        self.ready = False
        self.restarts = 0
        self.was_killed = False
        """Whether it had not ended by itself when its grace was over."""
        self._node = node
        (self._container,) = made_of.containers
        self._image = image
        self._folder = node.folder / "pods" / name
        self._volumes = Volumes(made_of, self._folder / "volumes", claims, node.render)
        self._running: Container | None = None
        self._told_to_end = asyncio.Event()
        self._life = asyncio.ensure_future(self._live())

    @property
    def address(self) -> str:
        """Empty while it has none."""
        return self.link.address if self.link else ""

    @property
    def ending(self) -> bool:
        return self._told_to_end.is_set()

    @property
    def is_over(self) -> bool:
        """Raises what has gone wrong here, rather than inside of it."""
        return self._life.done() and self._life.result() is None

    async def end(self) -> None:
        """As its manifest wants it to end; nobody is sent to it from now on."""
        self._told_to_end.set()
        if self._running:
            await self._stop(self._running)
        await self._life

    async def lose(self) -> None:
        """End it at once, with kill -9."""
        self._told_to_end.set()
        if self._running:
            await self._running.kill()
        await self._life

    async def execute(self, words: Sequence[str]) -> str:
        """What a command prints that is run in its container. Raises CommandFailed."""
        assert self._running is not None
        return await self._running.execute(words)

    async def _live(self) -> None:
        self.link = link = await self._node.network.join()
        try:
            await self._node.rewired()
            await self._keep_running()
        finally:
            self.link = None
            await self._node.rewired()
            await self._node.network.leave(link)

    async def _keep_running(self) -> None:
        for number in count():
            status = await self._run(f"{self.link.name}-{number}" if self.link else "")
            if self.ending or (status == 0 and self.made_of.get("restartPolicy") == "OnFailure"):
                return
            self._node.report(f"{self.name} ended with status {status}")
            self.restarts += 1
            pause = min(BACK_OFF_SECONDS << number >> 1, MAX_BACK_OFF_SECONDS) if number else 0
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told_to_end.wait(), pause)

    async def _run(self, name: str) -> int:
        container = Container(name, self._plan(), self._folder, self._node.folder / "logs" / f"{self.name}.log")
        await container.start()
        self._running = container
        if self.ending:
            await container.kill()
        watching = asyncio.ensure_future(self._watch(container))
        try:
            return await container.ended()
        finally:
            await ended(watching)
            self._running, self.ready = None, False

    async def _watch(self, container: Container) -> None:
        """First whether it has started; then, side by side, whether it is ready and whether it is alive."""
        if not await self._has_started(container):
            self._node.report(f"{self.name} does not start")
            await self._stop(container)
        await asyncio.gather(self._watch_readiness(container), self._watch_liveness(container))

    async def _has_started(self, container: Container) -> bool:
        if probe := self._container.get("startupProbe"):
            async for verdict in verdicts(probe, self._question(probe, container)):
                return verdict
        return True

    async def _watch_readiness(self, container: Container) -> None:
        probe = self._container.get("readinessProbe")
        if probe is None:
            self.ready = True
            return
        async for verdict in verdicts(probe, self._question(probe, container)):
            if self.ready and not verdict:
                self._node.report(f"{self.name} is not ready any more")
            self.ready = verdict

    async def _watch_liveness(self, container: Container) -> None:
        if probe := self._container.get("livenessProbe"):
            async for verdict in verdicts(probe, self._question(probe, container)):
                if not verdict:
                    self._node.report(f"{self.name} is not alive any more")
                    await self._stop(container)

    def _question(self, probe: Manifest, container: Container) -> Callable[[], Awaitable[bool]]:
        return partial(probes.passes, probe, self.address, self._container.ports, container)

    async def _stop(self, container: Container) -> None:
        try:
            async with asyncio.timeout(self.made_of.get("terminationGracePeriodSeconds", GRACE_SECONDS)):
                await self._before_stop(container)
                await container.send(signal.SIGTERM)
                await container.ended()
        except TimeoutError:
            self._node.report(f"{self.name} had to be killed")
            self.was_killed = True
            await container.kill()

    async def _before_stop(self, container: Container) -> None:
        match self._container.get("lifecycle.preStop"):
            case {"sleep": {"seconds": seconds}}:
                await asyncio.sleep(seconds)
            case {"exec": {"command": words}}:
                try:
                    await container.execute(words)
                except CommandFailed as failure:
                    self._node.report(f"{self.name}: preStop failed: {failure}")
            case _:
                pass

    def _plan(self) -> Plan:
        """What its container is made of, from the manifest, and where that is silent from the image."""
        assert self.link is not None
        user = {**self.made_of.get("securityContext", {}), **self._container.get("securityContext", {})}
        uid = user.get("runAsUser", self._image.uid)
        fields = {"metadata.name": self.name, "status.podIP": self.address, "spec.nodeName": self._node.network.name}
        told = settings.variables(self._container, fields, self._node.render)
        return Plan(
            args=settings.words(self._container, self._image.entrypoint, told),
            environment={"PATH": PATH, "HOSTNAME": self.name, **self._image.environment, **told},
            mounts=[*self._image.mounts, *self._volumes.mounts(self._container)],
            namespace=self.link.namespace,
            files=settings.files(self.name, self.address, self._node.network.node, uid),
            hostname=self.name,
            uid=uid,
            gid=user.get("runAsGroup", uid),
            groups=[user["fsGroup"]] if "fsGroup" in user else [],
            read_only=user.get("readOnlyRootFilesystem", False),
            memory=settings.memory(self._container),
        )
