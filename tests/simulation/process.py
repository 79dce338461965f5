"""A process that is a replica: it may crash, stand still, or leave in order."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.engine import Engine
from orchestrator.lease import RENEW_S, Lease
from orchestrator.patience import Patience
from orchestrator.replica import Pace, Replica
from orchestrator.saga import AnySaga
from tests.simulation.clock import ProcessClock
from tests.simulation.loop import Loop
from tests.simulation.participants import RemoteCaller
from tests.simulation.store import RemoteStore


@dataclass(frozen=True)
class Parts:
    """What a process is made of."""

    loop: Loop
    clock: ProcessClock
    store: RemoteStore
    caller: RemoteCaller
    workflows: tuple[AnySaga, ...]
    chance: random.Random


class Process:
    """One incarnation of a replica."""

    def __init__(self, parts: Parts, exited: Callable[["Process"], None]) -> None:
        """`exited` is told when it has left in order."""
        self.loop, self.clock, self.name = parts.loop, parts.clock, parts.loop.name
        self._parts = parts
        self._exited = exited
        self._leaving = asyncio.Event()
        self.replica: Replica | None = None
        """While it serves."""
        self.loop.create_task(self._live())

    def leave(self) -> None:
        """Asked to end, as by SIGTERM."""
        self.loop.call_soon(self._leaving.set)

    def pause(self) -> None:
        """As by SIGSTOP: its clock goes on."""
        self.loop.paused = True

    def stand_still(self) -> None:
        """The whole machine does, and its clock with it."""
        self.loop.paused = True
        self.clock.stop()

    def go_on(self) -> None:
        """After either."""
        self.clock.go_on()
        self.loop.go_on()

    def crash(self) -> None:
        """As by SIGKILL."""
        self.loop.dead = True

    async def _live(self) -> None:
        parts = self._parts
        lease = Lease(parts.clock)
        ended = asyncio.Event()
        keeping = asyncio.create_task(lease.keep(parts.store.renew, ended))
        while not lease.holds():
            lease.beat()
            await asyncio.sleep(RENEW_S / 10)
        patience = Patience(budget_s=4.0, limited_cap_s=1.0, endless_cap_s=2.0, stuck_after_s=3.0, chance=parts.chance)
        engine = Engine(parts.store, parts.caller, parts.clock, lease, patience=patience)
        pace = Pace(drain_s=2.0, chance=parts.chance)
        async with Replica(parts.store, engine, lease, parts.workflows, parts.clock, pace) as replica:
            self.replica = replica
            await self._leaving.wait()
            self.replica = None
        ended.set()
        await keeping
        self.loop.dead = True
        self._exited(self)
