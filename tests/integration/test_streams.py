"""The operator's step that makes the streams."""

import asyncio
import uuid
from pathlib import Path

import pytest

from cli.stack import nats, streams
from cli.stack.layout import REPLICA_STEP, Layout
from cli.stack.ports import free_port_base
from cli.stack.rights import OPERATOR
from cli.stack.supervisor import Supervisor
from mesh.errors import Outage
from mesh.events.bus import Bus
from mesh.events.streams import DAY, Stream, provision
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

AT_ONCE = 5.0
"""Seconds; less than the brokers are waited for."""


async def test_what_is_there_is_brought_up_to_date_and_keeps_what_it_holds(foundations: Foundations) -> None:
    name = f"TEST_{uuid.uuid4().hex}"
    async with Bus.open(foundations.nats_url, OPERATOR) as bus:
        await bus.connected.wait()
        jetstream = bus.client.jetstream()
        await provision(jetstream, [Stream(name, (f"{name}.old",))], replicas=1)
        await bus.publish(name, f"{name}.old", b"kept", {})

        for _ in range(2):
            await provision(jetstream, [Stream(name, (f"{name}.*",), max_age=DAY)], replicas=1)

        info = await jetstream.stream_info(name)
        assert (info.config.subjects, info.config.max_age) == ([f"{name}.*"], DAY)
        assert info.state.messages == 1
        await jetstream.delete_stream(name)


async def test_what_can_never_be_is_said_at_once(foundations: Foundations) -> None:
    async with asyncio.timeout(AT_ONCE):
        with pytest.raises(Outage, match="replicas > 1 not supported in non-clustered mode"):
            await streams.provision(foundations.nats_url, replicas=3)


async def test_a_cluster_that_is_still_coming_together_is_waited_for(tmp_path: Path) -> None:
    layout = Layout(free_port_base(span=3 * REPLICA_STEP), nats=3)
    passwords = {name: uuid.uuid4().hex for name in nats.SECRETS}
    nats.configure(tmp_path, layout, passwords)
    *there, late = nats.programs(tmp_path, layout)
    supervisor = Supervisor(tmp_path, restart=False, report=print, changed=lambda: None)
    url = nats.url(layout, OPERATOR, passwords[nats.secret(OPERATOR)])
    try:
        starting = asyncio.ensure_future(supervisor.start(there))
        async with Bus.open(url, OPERATOR) as bus:
            await bus.connected.wait()  # two servers let us in, and have no leader yet
            provisioning = asyncio.ensure_future(streams.provision(url, replicas=3))
            await asyncio.gather(starting, supervisor.start([late]), provisioning)

            made = {info.config.name: info for info in await bus.client.jetstream().streams_info()}
        assert set(made) == {stream.name for stream in streams.shop_streams()}
        assert all(info.config.num_replicas == 3 and info.cluster for info in made.values())
    finally:
        await supervisor.stop()
