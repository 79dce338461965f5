"""What must hold while a story goes on: each thing is checked when it happens."""

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.caller import Call
from orchestrator.log import FINAL, Kind
from orchestrator.memory import MemoryTables, Row
from orchestrator.store import LEASE_S, Append, Record
from tests.simulation.clock import ProcessClock
from tests.simulation.history import History
from tests.simulation.network import STORE

Effect = tuple[str, str]
"""What really happened: "do" or "undo", and the step's path."""
ADOPTED_S = 2.0
"""Where nothing is wrong, nothing that could be taken up waits for longer, seconds."""


@dataclass
class Watch:
    """Sees everything, and is no part of it."""

    history: History
    tables: MemoryTables
    is_alive: Callable[[str], bool]
    """Whether a process has not ended."""
    pivot_of: Callable[[str], str]
    """The path of a saga's pivot."""
    effects: dict[str, list[Effect]] = field(default_factory=dict[str, list[Effect]])
    """By saga."""
    must_unwind: set[str] = field(default_factory=set[str])
    """Sagas that were cancelled before anybody meant to do their pivot."""
    _heard: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """The highest epoch of a saga that each service has served."""
    _taken_over: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """Sagas, and the epochs in which they were taken from an owner."""
    _free_since: dict[str, float] = field(default_factory=dict[str, float])

    def started(self, replica_id: str, record: Record) -> None:
        self.history.note(STORE, f"start {record.saga_id} by {replica_id}: {record.state.name} of {record.owner}")

    def appended(self, append: Append, before: Record, after: Record) -> None:
        """Nothing is stored of an owner that has been replaced."""
        if after is before:
            self.history.note(STORE, f"append {append.saga_id} epoch {append.epoch}: a repeat")
            return
        entries = ", ".join(f"{entry.sequence} {entry.kind.name} {entry.path}" for entry in append.entries)
        parked = "" if append.park_s is None else f" parked for {append.park_s:.3f} s"
        self.history.note(STORE, f"append {append.saga_id} epoch {append.epoch}: {entries}{parked}")
        first = append.entries[0] if append.entries else None
        takes_over = (append.saga_id, append.epoch) in self._taken_over and before.entries[-1].epoch < append.epoch
        if first is not None and takes_over and first.kind is not Kind.ADOPTED:
            self.history.violated(f"{append.saga_id} was taken over, and {first.kind.name} is the first to tell of it")
        stale = [entry for entry in append.entries if entry.epoch != before.epoch]
        if stale:
            self.history.violated(f"{append.saga_id} is in epoch {before.epoch}, and epoch {stale[0].epoch} writes")

    def cancelled(self, replica_id: str, record: Record | None) -> None:
        if record is None:
            return
        self.history.note(STORE, f"cancel {record.saga_id} by {replica_id}: {record.state.name}")
        pivot = self.pivot_of(record.saga_id)
        if record.state not in FINAL and not any(entry.path == pivot for entry in record.entries):
            self.must_unwind.add(record.saga_id)

    def released(self, replica_id: str) -> None:
        self.history.note(STORE, f"release of {replica_id}")

    def adopted(self, replica_id: str, before: Record) -> None:
        """A saga is never taken from an owner that is alive."""
        self.history.note(STORE, f"claim {before.saga_id} of {before.owner} by {replica_id}: epoch {before.epoch + 1}")
        if before.owner is not None:
            self._taken_over.add((before.saga_id, before.epoch + 1))
        if before.owner is not None and self.is_alive(before.owner) and self._lease_left(before.owner) > 0:
            self.history.violated(f"{replica_id} adopted {before.saga_id} from {before.owner}, which is alive")

    def begins_call(self, replica_id: str, call: Call, clock: ProcessClock) -> None:
        """Nobody begins a call without a lease; except where the clock of the process has missed some time."""
        self.history.note(replica_id, f"calls {call.method.path} for {call.saga_id}/{call.path} in epoch {call.epoch}")
        unaware = clock.missed_s_ago < LEASE_S
        if self._lease_left(replica_id) <= 0 and not unaware:
            self.history.violated(f"{replica_id} begins {call.saga_id}/{call.path} while its lease is over")

    def serves(self, call: Call) -> None:
        """A service that has heard a later owner does not listen to an earlier one."""
        heard = call.saga_id, call.method.service
        if call.epoch < self._heard.get(heard, 0):
            self.history.violated(
                f"{call.method.service} serves {call.saga_id}/{call.path} of epoch {call.epoch} "
                f"after epoch {self._heard[heard]}"
            )
        self._heard[heard] = max(call.epoch, self._heard.get(heard, 0))

    def happens(self, verb: str, call: Call) -> None:
        """Each effect happens once, and not after the saga's end."""
        saga_id, effect = call.saga_id, (verb, call.path)
        self.history.note(call.method.service, f"{verb} {saga_id}/{call.path} in epoch {call.epoch}")
        effects = self.effects.setdefault(saga_id, [])
        if effect in effects:
            self.history.violated(f"{verb} {saga_id}/{call.path} happens a second time")
        effects.append(effect)
        row = self.tables.rows.get(saga_id)
        if row is None or row.record.state in FINAL:
            self.history.violated(f"{verb} {saga_id}/{call.path} happens, but the saga is over")

    def look_for_orphans(self) -> None:
        """Where nothing is wrong, whatever is nobody's is soon taken up."""
        now = self.tables.clock.now()
        free = [saga_id for saga_id, row in self.tables.rows.items() if self._is_free(row)]
        self._free_since = {saga_id: self._free_since.get(saga_id, now) for saga_id in free}
        for saga_id, since in self._free_since.items():
            if now - since > ADOPTED_S:
                self.history.violated(f"nobody has taken up {saga_id} for {now - since:.1f} s")

    def _is_free(self, row: Row) -> bool:
        record = row.record
        is_due = record.state not in FINAL and row.not_before <= self.tables.clock.now()
        return is_due and (record.owner is None or self._lease_left(record.owner) <= 0)

    def _lease_left(self, replica_id: str) -> float:
        return self.tables.leases.get(replica_id, float("-inf")) - self.tables.clock.now()
