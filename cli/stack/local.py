"""The whole stack on this machine, running while a context is open."""

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cli.stack import StackError, lock, nats, ports, postgres, rights, secrets, state, streams, traces
from cli.stack.layout import CUSTOMER, ORCHESTRATOR, SERVICES, Layout
from cli.stack.program import Program
from cli.stack.state import State
from cli.stack.supervisor import Supervisor
from cli.stack.topology import SECRETS, Topology
from cli.stack.traces import Choice
from mesh.errors import Outage


@dataclass(frozen=True)
class Plan:
    """What to run, and where its data is."""

    data: Path
    layout: Layout = field(default_factory=Layout)
    restart: bool = True
    traces: Choice = traces.as_inherited
    adjusted: Callable[[Program], Program] = lambda program: program
    """What to start in the place of a service's program: the same with other settings, say."""


class Stack:
    """A running stack."""

    def __init__(self, topology: Topology, plan: Plan, report: Callable[[str], None]) -> None:
        self.topology = topology
        self._report = report
        self._adjusted = plan.adjusted
        self._supervisor = Supervisor(topology.data / "logs", restart=plan.restart, report=report, changed=self._write)

    @property
    def state(self) -> State:
        """As it is now, and as it stands in `ensemble.json`."""
        topology, layout = self.topology, self.topology.layout
        return State(
            processes=self._supervisor.processes,
            nats_url=topology.nats_url(rights.OPERATOR),
            postgres=topology.databases,
            smtp=layout.outside["smtp"],
            sandbox_url=layout.outside["http"],
            customer=layout.targets[CUSTOMER],
            orchestrator=layout.targets[ORCHESTRATOR],
            services=layout.targets,
            traces=topology.traces.endpoint,
            traces_query=topology.traces.query,
        )

    async def start(self) -> None:
        """Returns once everything is ready. Raises StackError when something does not become so."""
        if self.topology.traces.program:
            await self._supervisor.start([self.topology.traces.program])
        foundations = self.topology.foundations()
        await self._supervisor.start(foundations)
        passwords = {service.name: self.topology.passwords[service.name] for service in SERVICES}
        await postgres.provision(foundations[0].probe, passwords)
        await self._provision_streams()
        await self._supervisor.start([self._adjusted(program) for program in self.topology.services()])

    async def _provision_streams(self) -> None:
        try:
            await streams.provision(self.topology.nats_url(rights.OPERATOR), self.topology.layout.nats)
        except Outage as error:
            raise StackError(f"the streams cannot be made: {error}") from error

    async def stop(self) -> None:
        """Returns once every process has ended."""
        await self._supervisor.stop()
        self._write()

    def _write(self) -> None:
        try:
            state.write(self.topology.data, self.state)
        except OSError as error:  # a full disk, say: no reason to let go of the processes
            self._report(f"{state.FILE_NAME} could not be written: {error}")


@asynccontextmanager
async def running(plan: Plan, report: Callable[[str], None]) -> AsyncGenerator[Stack]:
    """Run a stack while open; `report` is told, in sentences, what a person should know.

    Leaving drains every process. Raises StackError, with nothing left running, when the stack cannot start.
    """
    if sys.platform == "win32":
        raise StackError("the local stack does not run on Windows itself; run it in WSL 2")
    data = plan.data.resolve()
    _make(data)
    with lock.held(data):
        stack = Stack(await prepared(data, plan), plan, report)
        try:
            await stack.start()
            yield stack
        finally:
            await stack.stop()


def _make(data: Path) -> None:
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"{data} cannot be used: {error.strerror}; choose another --data") from error


async def prepared(data: Path, plan: Plan) -> Topology:
    """The topology of a stack below `data`, with all that its processes find when they start.

    Raises StackError when a port is in use, the database cannot be made, the data is of another number of brokers, or
    whom the traces are to go to is not installed.
    """
    layout = plan.layout
    chosen = plan.traces(layout)
    passwords = secrets.kept(data / "secrets.json", SECRETS)
    ports.check_free(layout.ports)
    for folder in ("logs", "sandbox"):
        (data / folder).mkdir(exist_ok=True)
    nats.configure(data, layout, passwords)
    await postgres.initialise(data / "postgres", passwords[postgres.SUPERUSER])
    return Topology(layout, data, passwords, chosen)
