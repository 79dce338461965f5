"""What runs in the place of an image: the same program, from this machine."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cli.stack import nats, postgres
from tests.image import prefix
from tests.kubelet.container import Mount

LIBRARIES = (Path("/usr/lib"), Path("/usr/lib64"))
BIN = "/usr/local/bin"


@dataclass(frozen=True)
class Image:
    """What a manifest leaves to the image. `uid` is its user, and the id of its group."""

    entrypoint: tuple[str, ...]
    mounts: tuple[Mount, ...]
    uid: int
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@cache
def image(reference: str) -> Image | None:
    """Raises KeyError for an image that is not known here; None for one whose program is not installed."""
    return _IMAGES[reference.partition(":")[0]]()


def _ensemble() -> Image:
    """The files that the Dockerfile makes, on the Python of this machine in the place of its base image."""
    made = prefix.installed()
    uid, _ = made.user.split(":")
    mounts = (*_as_they_are(*LIBRARIES, Path(sys.base_prefix)), Mount(made.root / "app", "/app"))
    return Image(made.command(), mounts, int(uid), made.environment)


def _nats() -> Image:
    return Image(("nats-server",), (Mount(Path(nats._binary()), f"{BIN}/nats-server"),), uid=1000)


def _postgres() -> Image:
    """With an entrypoint that does what Docker's does. Not where they are: a volume may hide that, as one for /tmp."""
    programs = postgres._binary("postgres").parent
    packages = programs.parents[2]
    script = Path(__file__).with_name("docker-entrypoint.sh")
    mounts = (*_as_they_are(Path("/usr")), Mount(packages, "/packages"), Mount(script, "/docker-entrypoint.sh"))
    path = f"/packages/{programs.relative_to(packages)}:/usr/bin"
    environment = {"PATH": path, "PGDATA": "/var/lib/postgresql/18/docker"}
    return Image(("/bin/sh", "/docker-entrypoint.sh", "postgres"), mounts, 999, environment)


def _jaeger() -> Image | None:
    found = shutil.which("jaeger")
    if found is None:
        return None
    return Image(("jaeger",), (*_as_they_are(*LIBRARIES), Mount(Path(found), f"{BIN}/jaeger")), uid=10001)


def _as_they_are(*paths: Path) -> tuple[Mount, ...]:
    return tuple(Mount(path, str(path)) for path in paths if path.exists())


_IMAGES = {"ensemble": _ensemble, "nats": _nats, "postgres": _postgres, "jaegertracing/jaeger": _jaeger}
