"""The store in memory: for tests, and the plainest statement of what a store does."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from orchestrator.clock import Clock, MonotonicClock
from orchestrator.log import FINAL, Entry, State
from orchestrator.store import LEASE_S, Append, Conflict, Fenced, Listing, NewSaga, Record


@dataclass
class MemoryTables:
    """What the stores of several replicas share. Its clock is the only one that decides."""

    clock: Clock = field(default_factory=MonotonicClock)
    sagas: dict[str, Record] = field(default_factory=dict[str, Record])
    leases: dict[str, float] = field(default_factory=dict[str, float])

    def now(self) -> datetime:
        """The time that is written into rows."""
        return datetime.fromtimestamp(self.clock.now(), UTC)

    def alive(self, replica_id: str | None) -> bool:
        """Whether the replica's lease is not over."""
        return replica_id is not None and self.leases.get(replica_id, 0) > self.clock.now()


class MemoryStore:
    """One replica's view of the tables."""

    def __init__(self, tables: MemoryTables, replica_id: str, versions: Collection[str]) -> None:
        """`versions`: fingerprints of the sagas that are deployed here."""
        self._tables = tables
        self.replica_id = replica_id
        self._versions = versions

    async def start(self, new: NewSaga, *, owned: bool = True) -> Record:
        """See SagaStore."""
        known = self._tables.sagas.get(new.saga_id)
        if known is not None:
            if (known.workflow, known.input) != (new.workflow, new.input):
                raise Conflict(new.saga_id)
            return known
        now = self._tables.now()
        record = Record(
            saga_id=new.saga_id,
            workflow=new.workflow,
            version=new.version,
            input=new.input,
            trace_context=new.trace_context,
            state=State.RUNNING,
            owner=self.replica_id if owned and self._tables.alive(self.replica_id) else None,
            epoch=1,
            attempts=1,
            cancel_reason=None,
            created_at=now,
            updated_at=now,
            entries=tuple(replace(entry, at=now) for entry in new.entries),
        )
        self._tables.sagas[new.saga_id] = record
        return record

    async def append(self, append: Append) -> str | None:
        """See SagaStore."""
        record = self._tables.sagas.get(append.saga_id)
        if record is None:
            raise Fenced(append.saga_id)
        if _holds(record, append.entries):
            return record.cancel_reason
        fits = append.entries[0].sequence == len(record.entries) + 1
        if not fits or (record.owner, record.epoch) != (self.replica_id, append.epoch):
            raise Fenced(append.saga_id)
        now = self._tables.now()
        self._tables.sagas[append.saga_id] = replace(
            record,
            entries=(*record.entries, *(replace(entry, at=now) for entry in append.entries)),
            state=append.state,
            owner=None if append.state in FINAL else record.owner,
            updated_at=now,
        )
        return record.cancel_reason

    async def cancel(self, saga_id: str, reason: str) -> Record | None:
        """See SagaStore."""
        record = self._tables.sagas.get(saga_id)
        if record is None:
            return None
        if record.state not in FINAL and record.cancel_reason is None:
            record = replace(record, cancel_reason=reason)
            self._tables.sagas[saga_id] = record
        return replace(record, entries=())

    async def get(self, saga_id: str) -> Record | None:
        """See SagaStore."""
        return self._tables.sagas.get(saga_id)

    async def list(self, listing: Listing) -> Sequence[Record]:
        """See SagaStore."""
        found = [record for record in self._tables.sagas.values() if self._matches(record, listing)]
        found.sort(key=lambda record: (record.created_at, record.saga_id), reverse=True)
        return [replace(record, entries=()) for record in found[: listing.size]]

    async def claim(self, limit: int) -> Sequence[Record]:
        """See SagaStore."""
        orphans = [record for record in self._tables.sagas.values() if self._orphaned(record)]
        claimed = [
            replace(record, owner=self.replica_id, epoch=record.epoch + 1, attempts=record.attempts + 1)
            for record in orphans[:limit]
        ]
        self._tables.sagas.update({record.saga_id: record for record in claimed})
        return claimed

    async def owned(self) -> Sequence[str]:
        """See SagaStore."""
        return [record.saga_id for record in self._tables.sagas.values() if record.owner == self.replica_id]

    async def renew(self) -> None:
        """See SagaStore."""
        self._tables.leases[self.replica_id] = self._tables.clock.now() + LEASE_S

    async def release(self) -> None:
        """See SagaStore."""
        self._tables.leases.pop(self.replica_id, None)
        for saga_id in await self.owned():
            self._tables.sagas[saga_id] = replace(self._tables.sagas[saga_id], owner=None)

    def _orphaned(self, record: Record) -> bool:
        deployed = record.version in self._versions
        return deployed and record.state not in FINAL and not self._tables.alive(record.owner)

    def _matches(self, record: Record, listing: Listing) -> bool:
        blocked = record.state not in FINAL and record.version not in self._versions
        older = listing.after is None or (record.created_at, record.saga_id) < listing.after
        return record.state in listing.states and older and listing.blocked in (None, blocked)


def _holds(record: Record, entries: Sequence[Entry]) -> bool:
    """Whether the log has these very entries, of the same epoch: then this append is a repeat."""
    written = {entry.sequence: (entry.epoch, entry.kind, entry.path) for entry in record.entries}
    return all(written.get(entry.sequence) == (entry.epoch, entry.kind, entry.path) for entry in entries)
