"""The volumes of a pod, as folders of this machine."""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.k8s import environment
from tests.k8s.manifests import Container, Pod, Render
from tests.kubelet.container import Mount


class Volumes:
    """Those of one pod. What it may write to belongs to its group, if it has one."""

    def __init__(self, pod: Pod, folder: Path, claims: Mapping[str, Path], render: Render) -> None:
        self._group: int = pod.get("securityContext.fsGroup", 0)
        self._volumes = {each["name"]: each for each in pod.get("volumes", ())}
        self._folder = folder
        self._claims = claims
        self._render = render

    def mounts(self, container: Container) -> list[Mount]:
        return [self._mount(each["name"], each["mountPath"]) for each in container.get("volumeMounts", ())]

    def _mount(self, name: str, target: str) -> Mount:
        if name in self._claims:
            return Mount(self._writable(self._claims[name]), target, writable=True)
        match self._volumes[name]:
            case {"emptyDir": _}:
                return Mount(self._writable(self._folder / name), target, writable=True)
            case {"configMap": {"name": source}}:
                return Mount(self._filled(name, "ConfigMap", source), target)
            case {"secret": {"secretName": source}}:
                return Mount(self._filled(name, "Secret", source), target)
            case other:
                raise KeyError(f"a volume that is not known here: {other}")

    def _writable(self, path: Path) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, 0, self._group)
        path.chmod(0o2775 if self._group else 0o777)
        return path

    def _filled(self, volume: str, kind: str, name: str) -> Path:
        source = self._render.find(kind, name)
        assert source, f"there is no {kind} {name}"
        folder = self._folder / volume
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in environment.contents(source).items():
            (folder / file).write_text(text)
        return folder
