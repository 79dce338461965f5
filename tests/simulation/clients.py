"""Clients: they start sagas through any replica, through another one where that does not answer, and may cancel."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mesh.errors import Outage
from orchestrator.replica import Replica
from orchestrator.store import Record
from tests.simulation.loop import Loop
from tests.simulation.network import SOON_S
from tests.simulation.process import Process
from tests.simulation.workload import Wish

WAIT_S = 2.0
"""After which a client asks another replica, seconds."""
AGAIN_S = 0.2

Ask = Callable[[Replica], Coroutine[Any, Any, Record | None]]


@dataclass
class Door:
    """Where clients come in: the network between them and the replicas delays, but it is the replicas that fail."""

    loop: Loop
    """Of the clients, who never die."""
    chance: random.Random
    processes: Callable[[], list[Process]]
    waiting: int = 0
    """Clients that have not been answered."""

    def expect(self, wish: Wish) -> None:
        """A client comes, and asks until it is answered."""
        self.waiting += 1
        self.loop.create_task(self._visit(wish))

    async def _visit(self, wish: Wish) -> None:
        await asyncio.sleep(wish.starts_s)
        await self._answered(lambda replica: replica.start(wish.saga, wish.saga_id, wish.input))
        if wish.cancels_s is not None:
            await asyncio.sleep(wish.cancels_s)
            await self._answered(lambda replica: replica.cancel(wish.saga_id, "CUSTOMER_REQUEST"))
        self.waiting -= 1

    async def _answered(self, ask: Ask) -> None:
        while True:
            serving = [process for process in self.processes() if process.replica is not None]
            if serving and await self._asked(self.chance.choice(serving), ask):
                return
            await asyncio.sleep(AGAIN_S)

    async def _asked(self, process: Process, ask: Ask) -> bool:
        """Whether an answer came. Where none did, the work is cancelled, as gRPC does when a client goes away."""
        answer: asyncio.Future[bool] = self.loop.create_future()
        visit = Visit(self, process, ask, answer)
        self.loop.call_later(self.delay(), visit.arrive)
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                return await answer
        visit.abandon()
        return False

    def delay(self) -> float:
        """How long one message takes, seconds."""
        return self.chance.uniform(*SOON_S)


@dataclass
class Visit:
    """One request of a client at one process."""

    door: Door
    process: Process
    ask: Ask
    answer: "asyncio.Future[bool]"
    work: "asyncio.Task[Record | None] | None" = None

    def arrive(self) -> None:
        """The process serves it as soon as it can."""
        if self.process.replica is not None and not self.process.loop.dead:
            self.work = self.process.loop.create_task(self.ask(self.process.replica))
            self.work.add_done_callback(self._served)

    def abandon(self) -> None:
        """Nobody waits for the answer any more."""
        if self.work is not None:
            self.process.loop.call_soon(self.work.cancel)

    def _served(self, work: "asyncio.Task[Record | None]") -> None:
        if not work.cancelled():
            error = work.exception()
            if error is not None and not isinstance(error, Outage):
                raise error
            self.door.loop.call_later(self.door.delay(), self._deliver, error is None)

    def _deliver(self, answered: bool) -> None:
        if not self.answer.done():
            self.answer.set_result(answered)
