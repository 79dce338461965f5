"""Everything around a saga, in memory and without waiting: participants that keep a record, and crashes on demand."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.any_pb2 import Any

from orchestrator.blocks import AnyStep
from orchestrator.caller import Call, NoAnswer, Refused, StaleEpoch
from orchestrator.engine import Engine
from orchestrator.lease import Lease
from orchestrator.log import FINAL, State
from orchestrator.memory import MemoryStore, MemoryTables
from orchestrator.outcome import opening
from orchestrator.patience import Patience
from orchestrator.run import Run
from orchestrator.saga import AnySaga
from orchestrator.store import LEASE_S, Append, Appended, NewSaga, Record
from tests.at_once import at_once

SAGA_ID = "0193a8b0-0000-7000-8000-000000000000"


class Crash(BaseException):
    """The process is gone. No handler of errors may see it."""


class VirtualClock:
    """Waits take no time, but time passes."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        if not event.is_set():
            self.time += seconds
            await asyncio.sleep(0)


class EndlessLease(Lease):
    """Held as long as the process lives."""

    def holds(self) -> bool:
        return True


@dataclass
class Participants:
    """All services of a saga: they dedupe by request id, refuse lower epochs, honour tombstones, and record every
    effect in order.
    """

    saga: AnySaga
    refuses: str = ""
    """The step that is answered with no."""
    loses: str = ""
    """The step that is done, but whose answers are lost."""
    misses: str = ""
    """The step whose calls never arrive."""
    reluctant: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """How often ("do" | "undo", step) is answered with no before it is done after all."""
    finds_pivot: bool = False
    """Whether the network is back once the pivot's undo is asked."""
    effects: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """What really happened: ("do" | "undo", step)."""
    answers: dict[str, bytes | Refused] = field(default_factory=dict[str, bytes | Refused])
    tombstones: set[str] = field(default_factory=set[str])
    epochs: dict[str, int] = field(default_factory=dict[str, int])
    """The highest epoch that each service has heard of."""
    repeats: bool = False
    """Whether each call arrives twice."""

    async def call(self, call: Call) -> bytes:
        request_id = str(call.request.request_id)  # type: ignore[attr-defined]
        verb, name = request_id.rpartition("/")[2], call.path.rpartition("/")[2]
        await asyncio.sleep(0)
        if verb == "do" and name == self.misses:
            raise NoAnswer("DEADLINE_EXCEEDED", "nobody answered")
        for _ in range(2 if self.repeats else 1):
            self._arrive(call, request_id, verb, name)
        if verb == "do" and name == self.loses:
            raise NoAnswer("DEADLINE_EXCEEDED", "nobody answered")
        answer = self.answers[request_id]
        if isinstance(answer, Refused):
            raise answer
        return answer

    def _arrive(self, call: Call, request_id: str, verb: str, name: str) -> None:
        if self.epochs.get(call.method.service, 0) > call.epoch:
            raise StaleEpoch(name)
        self.epochs[call.method.service] = call.epoch
        if self.reluctant.get((verb, name), 0) > 0:
            self.reluctant[verb, name] -= 1
            raise Refused("NOT_YET", "the business says not yet")
        if request_id not in self.answers:
            step = next(step for step in self.saga.steps if step.name == name)
            self.answers[request_id] = self._do(step) if verb == "do" else self._undo(step)

    def _do(self, step: AnyStep) -> bytes | Refused:
        if step.name in self.tombstones:
            return Refused("TOMBSTONE", "its undo came first")
        if step.name == self.refuses:
            return Refused("REFUSED", "the business says no")
        self.effects.append(("do", step.name))
        return step.answer().SerializeToString()

    def _undo(self, step: AnyStep) -> bytes | Refused:
        if step.pivot and self.finds_pivot:
            self.loses = ""
        if step.pivot and ("do", step.name) in self.effects:
            return Refused("TOO_LATE", "it has happened")
        if ("do", step.name) in self.effects:
            self.effects.append(("undo", step.name))
        self.tombstones.add(step.name)
        return b""

    @property
    def kept(self) -> list[str]:
        """The steps that are done and not undone."""
        done = [step for verb, step in self.effects if verb == "do"]
        return [step for step in done if ("undo", step) not in self.effects]


@dataclass
class Interruption:
    """What happens to a process before or after its n-th append, counted over all its lives."""

    before: int = 0
    after: int = 0
    appends: int = 0
    frozen: asyncio.Event | None = None
    """If set, the process does not die: it stands still until this is set."""
    struck: bool = False

    async def strike(self, moment: int) -> None:
        if moment != self.appends:
            return
        self.struck = True
        if self.frozen is None:
            raise Crash
        await self.frozen.wait()


class InterruptedStore(MemoryStore):
    """A store whose process is interrupted around an append."""

    def __init__(self, tables: MemoryTables, replica_id: str, saga: AnySaga, interruption: Interruption) -> None:
        super().__init__(tables, replica_id, [saga.fingerprint])
        self._interruption = interruption

    async def append(self, append: Append) -> Appended:
        self._interruption.appends += 1
        await self._interruption.strike(self._interruption.before)
        appended = await super().append(append)
        await self._interruption.strike(self._interruption.after)
        return appended


@dataclass
class World:
    """A saga, its participants, and replicas that come and go."""

    saga: AnySaga
    participants: Participants
    interruption: Interruption = field(default_factory=Interruption)
    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        self.tables = MemoryTables(self.clock)

    @property
    def record(self) -> Record:
        """The saga as it is stored."""
        return self.tables.rows[SAGA_ID].record

    async def begin(self) -> None:
        """Accept the saga; nobody runs it yet."""
        await self.store("front door").start(self._new(), owned=False)

    async def finish(self, cancel_after: int | None = None) -> Record:
        """Run the saga to its end; a replica that dies is followed by another one."""
        if SAGA_ID not in self.tables.rows:
            await self.begin()
        for number in range(100):
            await self.live(self.store(f"replica-{number}"), cancel_after)
            if self.record.state in FINAL:
                return self.record
        raise AssertionError(f"not over: {self.record}")

    async def live(self, store: MemoryStore, cancel_after: int | None = None, stop_after: int | None = None) -> None:
        """One replica's life: it takes the saga up, and runs it until it waits, ends, is stopped, or dies."""
        runs: list[Run] = []
        # Whoever had it has lost it by now, and what it waited for has come.
        self.clock.time = max(self.clock.time + LEASE_S, self.tables.rows[SAGA_ID].not_before)
        await store.renew()
        engine = Engine(
            store,
            self.participants,
            self.clock,
            EndlessLease(self.clock),
            patience=Patience(budget_s=5, chance=random.Random(0)),  # noqa: S311 - the same each time
            on_append=self._at_lengths(cancel_after, store, stop_after, runs),
        )
        for record in await store.claim(1):
            try:
                runs.append(Run(self.saga, record, self.clock.now()))
                await engine.run(runs[-1])
            except Crash:
                return

    def store(self, replica_id: str) -> MemoryStore:
        """The store of a new replica."""
        return InterruptedStore(self.tables, replica_id, self.saga, self.interruption)

    def _at_lengths(
        self, cancel: int | None, store: MemoryStore, stop: int | None, runs: list[Run]
    ) -> Callable[[str], None]:
        """Ask for a cancel once the log has grown to a length, or stop the run."""

        def appended(_saga_id: str) -> None:
            length = len(self.record.entries)
            if cancel is not None and length >= cancel:
                at_once(store.cancel(SAGA_ID, "CUSTOMER_REQUEST"))
            if stop is not None and length >= stop:
                runs[-1].stop()

        return appended

    def _new(self) -> NewSaga:
        packed = Any()
        packed.Pack(self.saga.input())
        return NewSaga(
            SAGA_ID, self.saga.name, self.saga.fingerprint, packed.SerializeToString(), {}, opening(self.saga)
        )


def outcome_is_consistent(world: World, record: Record) -> bool:
    """Either everything is kept, each step once; or nothing is. Never anything in between."""
    undoable = [step.name for step in world.saga.steps if step.undo is not None]
    if record.state is State.SUCCEEDED:
        needed = {step.name for step in world.saga.steps if not step.optional}
        kept = world.participants.kept
        return needed <= set(kept) and len(world.participants.effects) == len(kept) == len(set(kept))
    return not set(world.participants.kept) & set(undoable)
