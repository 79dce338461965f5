"""Everything around a saga, in memory and without waiting: participants that keep a record, and crashes on demand."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.any_pb2 import Any

from orchestrator.caller import Call, NoAnswer, Refused
from orchestrator.engine import Engine
from orchestrator.log import FINAL, State
from orchestrator.memory import MemoryStore, MemoryTables
from orchestrator.outcome import opening
from orchestrator.patience import Patience
from orchestrator.run import Run
from orchestrator.saga import AnySaga, AnyStep
from orchestrator.store import Append, NewSaga, Record

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


@dataclass
class Participants:
    """All services of a saga: they dedupe by request id, honour tombstones, and record every effect in order."""

    saga: AnySaga
    refuses: str = ""
    """The step that is answered with no."""
    loses: str = ""
    """The step that is done, but whose answers are lost."""
    misses: str = ""
    """The step whose calls never arrive."""
    effects: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """What really happened: ("do" | "undo", step)."""
    requests: list[str] = field(default_factory=list[str])
    answers: dict[str, bytes | Refused] = field(default_factory=dict[str, bytes | Refused])
    tombstones: set[str] = field(default_factory=set[str])
    repeats: bool = False
    """Whether each call arrives twice."""

    async def call(self, call: Call) -> bytes:
        verb = str(call.request.request_id).rpartition("/")[2]  # type: ignore[attr-defined]
        for _ in range(2 if self.repeats else 1):
            self._arrive(call, verb)
        if verb == "do" and call.path in (self.loses, self.misses):
            raise NoAnswer("DEADLINE_EXCEEDED", "nobody answered")
        answer = self.answers[self.requests[-1]]
        if isinstance(answer, Refused):
            raise answer
        return answer

    def _arrive(self, call: Call, verb: str) -> None:
        if verb == "do" and call.path == self.misses:
            return
        request_id = str(call.request.request_id)  # type: ignore[attr-defined]
        self.requests.append(request_id)
        if request_id not in self.answers:
            step = next(step for step in self.saga.steps if step.name == call.path)
            self.answers[request_id] = self._do(step) if verb == "do" else self._undo(step)

    def _do(self, step: AnyStep) -> bytes | Refused:
        if step.name in self.tombstones:
            return Refused("TOMBSTONE", "its undo came first")
        if step.name == self.refuses:
            return Refused("REFUSED", "the business says no")
        self.effects.append(("do", step.name))
        return step.answer().SerializeToString()

    def _undo(self, step: AnyStep) -> bytes | Refused:
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


class CrashingStore(MemoryStore):
    """A store whose process dies around the n-th append, counted over all its lives."""

    def __init__(self, tables: MemoryTables, replica_id: str, saga: AnySaga, plan: "CrashPlan") -> None:
        super().__init__(tables, replica_id, [saga.fingerprint])
        self._plan = plan

    async def append(self, append: Append) -> str | None:
        self._plan.appends += 1
        if self._plan.appends == self._plan.before:
            raise Crash
        reason = await super().append(append)
        if self._plan.appends == self._plan.after:
            raise Crash
        return reason


@dataclass
class CrashPlan:
    """When to die: before or after which append."""

    before: int = 0
    after: int = 0
    appends: int = 0


@dataclass
class World:
    """A saga, its participants, and replicas that come and go."""

    saga: AnySaga
    participants: Participants
    crashes: CrashPlan = field(default_factory=CrashPlan)
    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        self.tables = MemoryTables(self.clock)

    async def finish(self, cancel_after: int | None = None) -> Record:
        """Start the saga and run it to its end; a replica that dies is followed by another one."""
        await self._replica("replica-0").start(self._new(), owned=False)
        for number in range(1, 5):
            store = self._replica(f"replica-{number}")
            await store.renew()
            claimed = await store.claim(1)
            try:
                await self._live(store, claimed, cancel_after)
            except Crash:
                self.clock.time += 3600  # its lease runs out
            record = self.tables.sagas[SAGA_ID]
            if record.state in FINAL:
                return record
        raise AssertionError(f"not over: {record}")

    async def _live(self, store: MemoryStore, claimed: Sequence[Record], cancel_after: int | None) -> None:
        engine = Engine(store, self.participants, self.clock, patience=Patience(budget_s=5), on_append=self._appended)
        self._cancel_after = cancel_after
        for record in claimed:
            await engine.run(Run(self.saga, record))

    def _appended(self, saga_id: str) -> None:
        """Ask for a cancel once the log has grown to a length."""
        record = self.tables.sagas[saga_id]
        if self._cancel_after is not None and len(record.entries) >= self._cancel_after and not record.cancel_reason:
            asked = {**vars(record), "cancel_reason": "CUSTOMER_REQUEST"}
            self.tables.sagas[saga_id] = Record(**asked)

    def _replica(self, replica_id: str) -> MemoryStore:
        return CrashingStore(self.tables, replica_id, self.saga, self.crashes)

    def _new(self) -> NewSaga:
        packed = Any()
        packed.Pack(self.saga.input())
        return NewSaga(
            SAGA_ID, self.saga.name, self.saga.fingerprint, packed.SerializeToString(), {}, opening(self.saga)
        )


def outcome_is_consistent(world: World, record: Record) -> bool:
    """Either everything is kept, each step once; or nothing is. Never anything in between."""
    names = [step.name for step in world.saga.steps]
    undoable = [step.name for step in world.saga.steps if step.undo is not None]
    if record.state is State.SUCCEEDED:
        optional = {step.name for step in world.saga.steps if step.optional}
        return [name for name in world.participants.kept if name not in optional] == [
            name for name in names if name not in optional
        ] and len(world.participants.effects) == len(world.participants.kept)
    return not set(world.participants.kept) & set(undoable)
