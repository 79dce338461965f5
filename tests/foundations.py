"""PostgreSQL, NATS and the outside world, as real processes, for tests that start the rest themselves."""

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from cli.stack import nats, postgres, secrets, streams
from cli.stack.layout import Layout
from cli.stack.ports import free_port_base
from cli.stack.rights import OPERATOR
from cli.stack.supervisor import Supervisor
from cli.stack.topology import SECRETS, Topology


class Foundations:
    """What is running, and a new database for whoever asks."""

    def __init__(self, topology: Topology) -> None:
        self._superuser = topology.foundations()[0].probe
        self._numbers = itertools.count(1)
        self.nats_url = topology.nats_url(OPERATOR)
        self.nats_url_of = topology.nats_url
        self.sandbox_url = topology.layout.outside["http"]
        self.smtp_url = topology.layout.outside["smtp"]

    async def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        connection = await asyncpg.connect(self._superuser)
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return urlunsplit(urlsplit(self._superuser)._replace(path=f"/{name}"))


@asynccontextmanager
async def running(data: Path) -> AsyncGenerator[Foundations]:
    """Run the foundations below `data` while open."""
    passwords = secrets.kept(data / "secrets.json", SECRETS)
    layout = Layout(port_base=free_port_base())
    topology = Topology(layout, data, passwords)
    for folder in ("logs", "sandbox"):
        (data / folder).mkdir()
    nats.configure(data, layout, passwords)
    await postgres.initialise(data / "postgres", topology.passwords[postgres.SUPERUSER])
    supervisor = Supervisor(data / "logs", restart=False, report=print, changed=lambda: None)
    try:
        await supervisor.start(topology.foundations())
        await streams.provision(topology.nats_url(OPERATOR), replicas=1)
        yield Foundations(topology)
    finally:
        await supervisor.stop()
