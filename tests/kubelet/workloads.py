"""The controllers: they make the pods that a manifest asks for, and replace them when it changes."""

import asyncio
import math
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tests.k8s import manifests
from tests.kubelet.images import Image
from tests.kubelet.pod import Node, Pod

LOOK_SECONDS = 0.1


class Workload(ABC):
    """One object, and its pods."""

    def __init__(self, node: Node, wanted: manifests.Pod, image: Image) -> None:
        self.name = wanted.name
        self.pods: list[Pod] = []
        """Those that are there, and those that are about to go."""
        self.killed: list[str] = []
        """The names of those that outstayed their grace."""
        self._node = node
        self._owner = wanted.owner
        self._wanted = wanted
        self._image = image
        self._ends: set[asyncio.Future[None]] = set()

    async def keep(self) -> None:
        """Do what is to be done, for ever."""
        while True:
            self.killed += [pod.name for pod in self.pods if pod.is_over and pod.was_killed]
            self.pods = [pod for pod in self.pods if not pod.is_over]
            self.step()
            await asyncio.sleep(LOOK_SECONDS)

    @abstractmethod
    def step(self) -> None:
        """Do the next thing that is due, if anything is."""

    @property
    @abstractmethod
    def is_done(self) -> bool:
        """Whether all is as the manifest says."""

    def restart(self) -> None:
        """`kubectl rollout restart`: from now on the template is another."""
        self._wanted = replace(self._wanted)

    @property
    def replicas(self) -> int:
        return self._owner.get("spec.replicas", 1)

    @property
    def current(self) -> list[Pod]:
        return [pod for pod in self.pods if not pod.ending and pod.made_of is self._wanted]

    @property
    def outdated(self) -> list[Pod]:
        return [pod for pod in self.pods if not pod.ending and pod.made_of is not self._wanted]

    def _start(self, name: str, claims: Mapping[str, Path] | None = None) -> None:
        self.pods.append(Pod(self._node, name, self._wanted, self._image, claims or {}))

    def _end(self, pod: Pod) -> None:
        ending = asyncio.ensure_future(pod.end())
        self._ends.add(ending)
        ending.add_done_callback(self._ends.discard)


class Deployment(Workload):
    """Replaces its pods a few at a time."""

    def step(self) -> None:
        pods = len(self.current) + len(self.outdated)
        if len(self.current) < self.replicas and pods < self.replicas + self._surge:
            self._start(f"{self.name}-{uuid.uuid4().hex[:5]}")
        spare = sum(pod.ready for pod in self.current + self.outdated) - (self.replicas - self._unavailable)
        for pod in self.outdated:
            if not pod.ready or spare > 0:
                spare -= pod.ready
                self._end(pod)

    @property
    def is_done(self) -> bool:
        return len(self.pods) == len(self.current) == self.replicas and all(pod.ready for pod in self.pods)

    @property
    def _surge(self) -> int:
        return self._allowed("maxSurge", math.ceil)

    @property
    def _unavailable(self) -> int:
        return self._allowed("maxUnavailable", math.floor)

    def _allowed(self, name: str, rounded: Callable[[float], int]) -> int:
        if self._owner.get("spec.strategy.type") == "Recreate":
            return self.replicas if name == "maxUnavailable" else 0
        amount = self._owner.get(f"spec.strategy.rollingUpdate.{name}", "25%")
        return amount if isinstance(amount, int) else rounded(self.replicas * int(amount[:-1]) / 100)


class StatefulSet(Workload):
    """Keeps one pod for each number, which keeps its name and its data."""

    def step(self) -> None:
        there = {pod.name: pod for pod in self.pods}
        for name in self._names:
            if name not in there:
                self._start(name, self._claims(name))
            if not self._is_parallel and not (name in there and there[name].ready):
                return
        if self.outdated and all(pod.ready and not pod.ending for pod in self.pods):
            self._end(max(self.outdated, key=lambda pod: pod.name))

    @property
    def is_done(self) -> bool:
        return len(self.current) == len(self.pods) == self.replicas and all(pod.ready for pod in self.pods)

    @property
    def _names(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(self.replicas)]

    @property
    def _is_parallel(self) -> bool:
        return self._owner.get("spec.podManagementPolicy") == "Parallel"

    def _claims(self, pod: str) -> dict[str, Path]:
        names = [each["metadata"]["name"] for each in self._owner.get("spec.volumeClaimTemplates", ())]
        return {name: self._node.folder / "claims" / f"{name}-{pod}" for name in names}


class Job(Workload):
    """Has its work done once."""

    def __init__(self, node: Node, wanted: manifests.Pod, image: Image) -> None:
        super().__init__(node, wanted, image)
        self._worker: Pod | None = None

    def step(self) -> None:
        if self._worker is None:
            self._start(self.name)
            (self._worker,) = self.pods
        if self._worker.restarts > self._owner.get("spec.backoffLimit", 6):
            raise RuntimeError(f"the job {self.name} has failed")

    @property
    def is_done(self) -> bool:
        return self._worker is not None and self._worker.is_over


KINDS: dict[str, type[Workload]] = {each.__name__: each for each in (Deployment, StatefulSet, Job)}
