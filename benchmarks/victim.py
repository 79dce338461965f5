"""A replica of the orchestrator, as whoever is about to kill it sees it."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager

from ensemble.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceStub

from benchmarks.evidence import Evidence
from benchmarks.orders import new_order, start_request
from cli.client import answered
from cli.stack.layout import ORCHESTRATOR
from cli.stack.local import Stack
from mesh.rpc.channel import channel


class Victim:
    """The replica of that number. Its process, and with it its id, changes with each death."""

    def __init__(self, stack: Stack, number: int) -> None:
        self._stack = stack
        self.number = number
        self.address = stack.topology.layout.address("orchestrator", number)

    @property
    def pid(self) -> int | None:
        """None while it is down."""
        processes = self._stack.state.processes
        return next((process.pid for process in processes if process.address == self.address), None)

    async def replica_id(self, evidence: Evidence) -> str:
        """Its name in the orchestrator's tables: who owns a saga that is started here."""
        async with channel(f"ipv4:{self.address}", ORCHESTRATOR) as connection:
            sagas = OrchestratorServiceStub(connection)
            while True:
                request = start_request(new_order())
                await answered(lambda: sagas.StartSaga(request))  # noqa: B023
                if (owner := await evidence.first_owner(request.saga_id)) is not None:
                    return owner

    def kill(self) -> None:
        """Without warning. The stack starts it again."""
        os.kill(self._running, signal.SIGKILL)

    @contextmanager
    def frozen(self) -> Generator[None]:
        """Stopped while open: it neither acts nor notices how time goes by."""
        pid = self._running
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @property
    def _running(self) -> int:
        if self.pid is None:
            raise ProcessLookupError(f"no orchestrator runs at {self.address}")
        return self.pid
