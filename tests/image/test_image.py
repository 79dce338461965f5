"""The image: what is in it, and that it runs from it."""

import json
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cli.stack.layout import SERVICES, Layout, Service
from cli.stack.ports import free_port_base
from tests.foundations import Foundations
from tests.image.container import output, started
from tests.image.prefix import ROOT, Prefix, installed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]  # the dependencies may have to be fetched first

PACKAGES = {"catalogue", "cli", "mesh", "orchestrator", "sandbox", "services"}
SMALL = 120_000_000
"""Bytes that may come on top of the base image, unpacked; they are some 100 million."""


@pytest.fixture(scope="module")
def image() -> Prefix:
    return installed()


def locked(name: str) -> dict[str, str]:
    """Version by name of what a lock has for this machine."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalpha()]
    return {pin.name: str(pin.specifier) for pin in pins if pin.marker is None or pin.marker.evaluate()}


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def seen(root: Path) -> dict[Path, tuple[int, int]]:
    """Everything below it, with size and time: another one, should anything be written, made or deleted there."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in [root, *root.rglob("*")]}


def settings(service: Service, layout: Layout, foundations: Foundations, database: str) -> dict[str, str]:
    outside = {"http": foundations.sandbox_url, "smtp": foundations.smtp_url}
    told = {
        "LISTEN": layout.address(service.name),
        "DATABASE_URL": database,
        **{name: outside[scheme] for name, scheme in service.outside.items()},
    }
    if service.events:
        told["NATS_URL"] = foundations.nats_url_of(service.name)
    if service.peers:
        told["PEERS"] = json.dumps({package: layout.targets[package] for package in service.peers})
    return {f"ENSEMBLE_{name}": value for name, value in told.items()}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
async def test_service_runs_from_the_image_alone_writes_nothing_to_it_and_ends_when_told(
    image: Prefix, service: Service, foundations: Foundations, tmp_path: Path
) -> None:
    layout, before = Layout(port_base=free_port_base()), seen(image.root)
    told = settings(service, layout, foundations, await foundations.database())
    probe = f"grpc://{layout.address(service.name)}"
    async with started(image, tmp_path, ["-m", service.module], told, probe) as process:
        process.terminate()
        assert await process.wait() == 0
    assert seen(image.root) == before


async def test_outside_world_runs_from_the_image_alone_and_ends_when_told(image: Prefix, tmp_path: Path) -> None:
    layout, before = Layout(port_base=free_port_base()), seen(image.root)
    told = {
        "ENSEMBLE_HTTP_LISTEN": layout.address("sandbox"),
        "ENSEMBLE_SMTP_LISTEN": layout.address("sandbox SMTP"),
        "ENSEMBLE_LEDGER_PATH": str(tmp_path / "ledger.db"),
    }
    probe = f"http://{layout.address('sandbox')}/health"
    async with started(image, tmp_path, ["-m", "sandbox"], told, probe) as process:
        process.terminate()
        assert await process.wait() == 0
    assert seen(image.root) == before


async def test_command_runs_from_the_image_alone(image: Prefix, tmp_path: Path) -> None:
    assert "events" in await output(image, tmp_path, "-m", "cli.main", "--help")


async def test_nothing_is_found_elsewhere_but_the_standard_library(image: Prefix, tmp_path: Path) -> None:
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "__init__.py").touch()
    searched = json.loads(await output(image, tmp_path, "-c", "import json, sys; print(json.dumps(sys.path))"))
    elsewhere = [Path(each) for each in searched if not Path(each).is_relative_to(image.root)]
    python = f"python3.{sys.version_info.minor}"
    assert [path.name for path in elsewhere] == [f"{python.replace('.', '')}.zip", python, "lib-dynload"]


def test_dependencies_are_those_of_the_lock(image: Prefix) -> None:
    there = {each.name: f"=={each.version}" for each in distributions(path=[str(image.root / "app" / "dependencies")])}
    assert {name.lower().replace("_", "-"): version for name, version in there.items()} == locked("image.txt")


def test_code_is_our_packages_and_no_more(image: Prefix) -> None:
    code = image.root / "app" / "code"
    assert {path.name for path in code.iterdir()} == PACKAGES | {"gen", "requirements"}
    assert {path.suffix for path in files(code)} == {".py", ".pyc", ".sql", ".json", ".txt"}


def test_every_module_is_compiled(image: Prefix) -> None:
    code = image.root / "app" / "code"
    modules = {path.relative_to(code) for path in code.rglob("*.py")}
    compiled = {path.relative_to(code) for path in code.rglob("*.pyc")}
    assert {path.parent / "__pycache__" / path.stem for path in modules} == {
        path.with_suffix("").with_suffix("") for path in compiled
    }


def test_image_is_read_by_everyone_and_written_by_nobody_else(image: Prefix) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files(image.root)}
    assert all(mode & 0o004 and not mode & 0o022 for mode in modes)


def test_image_runs_python_as_somebody_without_rights(image: Prefix) -> None:
    assert image.entrypoint == ["/usr/bin/python3"]
    assert image.user == "65532:65532"


def test_image_adds_little_to_its_base(image: Prefix) -> None:
    assert sum(path.stat().st_size for path in files(image.root)) < SMALL
