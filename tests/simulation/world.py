"""A world: replicas, the store, participants and clients, from a seed."""

import asyncio
import random
from typing import cast

from orchestrator.blocks import AnyStep
from orchestrator.caller import Call
from orchestrator.log import FINAL
from orchestrator.memory import MemoryTables
from tests.simulation import faults, verdict
from tests.simulation.bugs import NONE, Bug
from tests.simulation.clients import Door
from tests.simulation.clock import DatabaseClock, ProcessClock
from tests.simulation.history import History
from tests.simulation.invariants import Watch
from tests.simulation.loop import Loop, Timeline
from tests.simulation.network import STORE, USUAL_S, Network
from tests.simulation.participants import RemoteCaller
from tests.simulation.process import Parts, Process
from tests.simulation.store import RemoteStore
from tests.simulation.workload import SERVICES, WORKFLOWS, drawn

PATIENCE_S = 40.0
"""After the calm everything must have ended within this time, seconds."""
LINGER_S = 1.0
"""So long is watched what happens after the end, seconds."""
LOOK_S = 0.5
"""Between two looks at how things stand, seconds."""


class World:
    """One story, with everybody in it; `history` tells it."""

    def __init__(self, seed: int, bug: Bug = NONE) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - it is to be foreseen
        self._bug = bug
        self._timeline = Timeline()
        self._loops: list[Loop] = []
        self.history = History(lambda: self._timeline.now)
        self.loop = self._loop("world")
        self.tables = MemoryTables(DatabaseClock(self._timeline))
        self.network = Network(self.loop, self.chance, faults.noise(self.chance), self.chance.choice(USUAL_S))
        self.servers = (STORE, *SERVICES)
        self._wishes = {wish.saga_id: wish for wish in drawn(self.chance)}
        self._watch = Watch(self.history, self.tables, self._is_alive, self._pivot_of)
        refused = {place for wish in self._wishes.values() for place in wish.refused}
        self._services = {name: bug.service(self._watch, refused) for name in SERVICES}
        self._machines: dict[str, Process | None] = dict.fromkeys("abcd"[: self.chance.randint(2, 4)])
        self._door = Door(self.loop, self.chance, self.processes)
        self._ended = False
        self._calm_since = self._over_since = float("inf")

    def run(self) -> History:
        """From the first request until all is over, or until an invariant is violated."""
        with self._bug.planted(), self.history.logged(self._speaker):
            for machine in self._machines:
                self.launch(machine)
            for wish in self._wishes.values():
                self._door.expect(wish)
            faults.plan(self)
            self._look()
            self._timeline.run()
            if not self.history.violations:
                self._judge()
            self._bury()
        return self.history

    def processes(self) -> list[Process]:
        """Those that have not ended."""
        return [process for process in self._machines.values() if process is not None and not process.loop.dead]

    def launch(self, machine: str) -> None:
        """Start a process on the machine, if none is there."""
        before = self._machines[machine]
        if self._ended or (before is not None and not before.loop.dead):
            return
        number = 1 if before is None else 1 + int(before.name.partition(".")[2])
        loop = self._loop(f"{machine}.{number}")
        self.history.note(loop.name, "starts")
        clock = ProcessClock(self._timeline, self.chance)
        store = self._bug.store(self.tables, loop.name, [saga.fingerprint for saga in WORKFLOWS], self._watch, clock)
        caller = RemoteCaller(self._watch, self.network, loop, clock, self._services, self._step_of)
        parts = Parts(loop, clock, RemoteStore(store, self.network, loop), caller, WORKFLOWS, self.chance)
        self._machines[machine] = Process(parts, self._exited)

    def wake(self, process: Process) -> None:
        """A process that stood still goes on, unless it did before."""
        if process.loop.paused:
            self.history.note(process.name, "goes on")
            process.go_on()

    def calm_down(self) -> None:
        """From now on nothing goes wrong."""
        self.history.note("FAULTS", "no more")
        self._ended = False
        self._calm_since = self._timeline.now
        self.network.heal()
        for process in self.processes():
            self.wake(process)
        for machine in self._machines:
            self.launch(machine)

    def _exited(self, process: Process) -> None:
        self.history.note(process.name, "has left")
        self.tables.ended(process.name)
        self.loop.call_later(self.chance.uniform(0.1, 3.0), self.launch, process.loop.machine)

    def _look(self) -> None:
        """See how things stand. When all is over the processes die, and what is still on its way arrives."""
        now = self._timeline.now
        if now > self._calm_since:
            self._watch.look_for_orphans()
            over = not self._door.waiting and all(row.record.state in FINAL for row in self.tables.rows.values())
            self._over_since = min(self._over_since, now) if over else float("inf")
        self._timeline.stopped = bool(self.history.violations) or now > self._calm_since + PATIENCE_S
        if now < self._over_since + LINGER_S:
            self.loop.call_later(LOOK_S, self._look)
            return
        self._ended = True
        for process in self.processes():
            process.crash()

    def _judge(self) -> None:
        if self._door.waiting:
            self.history.violated(f"{self._door.waiting} clients are not answered to this day")
        for saga_id, row in self.tables.rows.items():
            wish = self._wishes[saga_id]
            effects = self._watch.effects.get(saga_id, [])
            must_unwind = saga_id in self._watch.must_unwind
            for fault in verdict.faults(wish.saga, row.record, effects, must_unwind=must_unwind):
                self.history.violated(f"{saga_id} ({wish.saga.name}) {fault}")

    def _bury(self) -> None:
        """Nothing of a story is left over for the next."""
        self.history.closed = True
        self.network.open = self._timeline.stopped = False
        for loop in self._loops:
            loop.bury()
        self._timeline.forget_timers()
        self._timeline.run()

    def _loop(self, name: str) -> Loop:
        loop = Loop(self._timeline, name, lambda error: self.history.violated(f"{name} failed: {error!r}"))
        self._loops.append(loop)
        return loop

    def _is_alive(self, replica_id: str) -> bool:
        return any(process.name == replica_id for process in self.processes())

    def _pivot_of(self, saga_id: str) -> str:
        return next(path for path, leaf in self._wishes[saga_id].saga.leaves.items() if getattr(leaf, "pivot", False))

    def _step_of(self, call: Call) -> AnyStep:
        return cast(AnyStep, self._wishes[call.saga_id].saga.leaves[call.path])

    @staticmethod
    def _speaker() -> str:
        return cast(Loop, asyncio._get_running_loop()).name
