"""The NATS of a Kubernetes cluster: three real servers, with the configuration that is committed."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from nats.errors import TimeoutError as Unanswered
from structlog.testing import capture_logs

from catalogue import model
from cli.kubernetes.__main__ import ROOT
from cli.stack import nats, streams
from cli.stack.layout import REPLICA_STEP, Layout, label
from cli.stack.ports import free_port_base
from cli.stack.program import Program
from cli.stack.rights import OPERATOR
from cli.stack.supervisor import Supervisor
from mesh import contract
from mesh.events import durable
from mesh.events.bus import Bus
from tests.eventually import eventually

pytestmark = pytest.mark.integration

CATALOGUE = model.read()
CONFIGURATION = (ROOT / "k8s/components/nats/nats.conf").read_text()
PASSWORDS = {user: f"a{uuid.uuid4().hex}" for user in (*nats.RIGHTS, nats.ROUTES)}


@dataclass(frozen=True)
class Cluster:
    folder: Path
    layout: Layout
    programs: list[Program]

    def url(self, user: str) -> str:
        return nats.url(self.layout, user, PASSWORDS[user])


def configured(folder: Path, layout: Layout) -> list[Program]:
    """The servers, with addresses on loopback and a folder each in the place of what a pod has."""
    return [_server(folder, layout, number, each) for number, each in enumerate(nats.programs(folder, layout))]


def _server(folder: Path, layout: Layout, number: int, program: Program) -> Program:
    home = folder / label("nats", number)
    home.mkdir()
    there = {
        "0.0.0.0:4222": layout.address("nats", number),
        "0.0.0.0:6222": layout.address("nats routes", number),
        "0.0.0.0:8222": layout.address("nats monitoring", number),
        "/data": str(home),
        "/run/nats": str(home),
    }
    text = CONFIGURATION
    for pod, here in there.items():
        assert pod in text
        text = text.replace(pod, here)
    (home / nats.CONFIGURATION).write_text(text)
    return replace(program, settings=environment(layout, number))


def environment(layout: Layout, number: int) -> dict[str, str]:
    """What the StatefulSet sets."""
    routes = [
        f"nats-route://routes:{PASSWORDS[nats.ROUTES]}@{address}" for address in layout.nats_addresses("nats routes")
    ]
    passwords = {f"{user.upper()}_PASSWORD": password for user, password in PASSWORDS.items()}
    return {"POD_NAME": f"nats-{number}", "ROUTES": json.dumps(routes), **passwords}


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster]:
    folder = tmp_path_factory.mktemp("nats")
    layout = Layout(free_port_base(span=3 * REPLICA_STEP), nats=3)
    programs = configured(folder, layout)
    supervisor = Supervisor(folder, restart=False, report=print, changed=lambda: None)
    cluster = Cluster(folder, layout, programs)
    try:
        await supervisor.start(programs)
        await streams.provision(cluster.url(OPERATOR), replicas=3)
        yield cluster
    finally:
        await supervisor.stop()


async def test_they_are_one_cluster_that_keeps_each_message_three_times(cluster: Cluster) -> None:
    async with Bus.open(cluster.url(OPERATOR), OPERATOR) as bus:
        await bus.connected.wait()
        made = await bus.client.jetstream().streams_info()

    assert {info.config.name for info in made} == {stream.name for stream in streams.shop_streams()}
    assert {info.config.num_replicas for info in made} == {3}
    leaders = {info.cluster.leader for info in made if info.cluster}
    assert leaders <= {"nats-0", "nats-1", "nats-2"}


@pytest.mark.parametrize("service", CATALOGUE.services, ids=lambda service: service.name)
async def test_a_service_is_let_in_and_has_its_consumers_but_not_those_of_others(
    cluster: Cluster, service: model.Service
) -> None:
    facts = [CATALOGUE.fact(reaction.fact) for reaction in service.reactions]
    durables = durable.of_service(service.name, [contract.Fact(each.name, each.stream, each.key) for each in facts])
    foreign = "$JS.API.CONSUMER.MSG.NEXT.SHOP_EVENTS.nobody_OrderCreated"

    with capture_logs() as logs:
        async with Bus.open(cluster.url(service.name), service.name) as bus:
            await bus.connected.wait()
            for each in durables if service.reactions else []:
                await bus.consume(each.stream, each.config())
            await bus.client.publish(foreign)
            await eventually(lambda: [line["event"] for line in logs] == ["forbidden"])

    assert logs[0]["subject"] == foreign.lower()


@pytest.mark.parametrize("password", ["$OPERATOR_PASSWORD", "OPERATOR_PASSWORD", "", None])
async def test_nobody_is_let_in_by_the_name_of_a_variable_or_without_a_password(
    cluster: Cluster, password: str | None
) -> None:
    assert await answered(cluster, {"user": OPERATOR, "pass": PASSWORDS[OPERATOR]}) == "PONG"

    assert await answered(cluster, {"user": OPERATOR, "pass": password}) == "-ERR 'Authorization Violation'"


async def answered(cluster: Cluster, credentials: dict[str, str | None]) -> str:
    """What the first server says to who introduces himself like this."""
    reader, writer = await asyncio.open_connection(*cluster.layout.address("nats").split(":"))
    await reader.readline()  # who the server is
    writer.write(f"CONNECT {json.dumps({'verbose': False, **credentials})}\r\nPING\r\n".encode())
    answer = await reader.readline()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return answer.decode().strip()


async def test_a_server_that_is_told_to_leave_leaves_and_the_others_go_on(cluster: Cluster) -> None:
    leaving = cluster.programs[2]
    signal = f"ldm={cluster.folder / 'nats-2' / 'nats.pid'}"
    staying = cluster.layout.nats_addresses()[:2]
    url = ",".join(f"nats://{OPERATOR}:{PASSWORDS[OPERATOR]}@{address}" for address in staying)

    telling = await asyncio.create_subprocess_exec(leaving.command[0], "--signal", signal)
    assert await telling.wait() == 0

    async with Bus.open(url, OPERATOR) as bus:
        await bus.connected.wait()

        async def is_led_by_others() -> bool:
            try:
                made = await bus.client.jetstream().streams_info()
            except Unanswered:
                return False  # nobody answers while those who stay elect a leader
            return all(info.cluster and info.cluster.leader in ("nats-0", "nats-1") for info in made)

        await eventually(is_led_by_others)
