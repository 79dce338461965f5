"""The store in memory: for tests, and the plainest statement of what a store does."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from orchestrator.clock import Clock, MonotonicClock
from orchestrator.log import FINAL, Entry, State
from orchestrator.store import (
    LEASE_S,
    QUARANTINE_AFTER,
    UNSPACED,
    Append,
    Appended,
    Conflict,
    Fenced,
    Listing,
    NewSaga,
    Record,
)


@dataclass(frozen=True)
class Row:
    """A saga, and what only the store knows of it."""

    record: Record
    not_before: float
    """Nobody takes it up earlier."""
    claimed_at: int
    """The last entry when it was taken up; it has got on where there are later ones."""


@dataclass
class MemoryTables:
    """What the stores of several replicas share. Its clock is the only one that decides."""

    clock: Clock = field(default_factory=MonotonicClock)
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    leases: dict[str, float] = field(default_factory=dict[str, float])
    """When the lease of each replica is over."""

    def now(self) -> datetime:
        """The time that is written into rows."""
        return datetime.fromtimestamp(self.clock.now(), UTC)

    def alive(self, replica_id: str | None) -> bool:
        """Whether the replica's lease is not over."""
        return replica_id is not None and self.leases.get(replica_id, 0) > self.clock.now()

    def ended(self, replica_id: str) -> None:
        """The replica's process has ended, and its connection with it."""
        self.leases.pop(replica_id, None)


class MemoryStore:
    """One replica's view of the tables."""

    def __init__(self, tables: MemoryTables, replica_id: str, versions: Collection[str]) -> None:
        """`versions`: fingerprints of the sagas that are deployed here."""
        self._tables = tables
        self.replica_id = replica_id
        self._versions = versions

    async def start(self, new: NewSaga, *, owned: bool = True) -> Record:
        """See SagaStore."""
        if (known := await self.get(new.saga_id)) is not None:
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
            quarantined=False,
            cancel_reason=None,
            created_at=now,
            updated_at=now,
            read_at=now,
            entries=tuple(replace(entry, at=now) for entry in new.entries),
        )
        self._tables.rows[new.saga_id] = Row(record, self._tables.clock.now(), len(new.entries))
        return record

    async def append(self, append: Append) -> Appended:
        """See SagaStore."""
        row = self._tables.rows.get(append.saga_id)
        if row is None:
            raise Fenced(append.saga_id)
        record, now = row.record, self._tables.now()
        owns = (record.owner, record.epoch) == (self.replica_id, append.epoch)
        if not owns or append.sequence != len(record.entries) + 1:
            if not _holds(record, append.entries):
                raise Fenced(append.saga_id)
            return Appended(now, record.cancel_reason)
        parked = append.park_s is not None
        self._change(
            row,
            not_before=self._tables.clock.now() + _rest(record, append) if parked else row.not_before,
            entries=(*record.entries, *(replace(entry, at=now) for entry in append.entries)),
            state=append.state,
            owner=None if append.state in FINAL or parked else record.owner,
            attempts=0 if parked else record.attempts,
            updated_at=now if append.entries else record.updated_at,
        )
        return Appended(now, record.cancel_reason)

    async def cancel(self, saga_id: str, reason: str) -> Record | None:
        """See SagaStore."""
        row = self._tables.rows.get(saga_id)
        if row is not None and row.record.state not in FINAL and row.record.cancel_reason is None:
            now = row.not_before if row.record.quarantined else min(row.not_before, self._tables.clock.now())
            self._change(row, not_before=now, cancel_reason=reason)
        return await self.get(saga_id)

    async def resume(self, saga_id: str) -> Record | None:
        """See SagaStore."""
        row = self._tables.rows.get(saga_id)
        if row is not None and row.record.state not in FINAL and row.record.owner is None:
            self._change(row, not_before=self._tables.clock.now(), attempts=0, quarantined=False)
        return await self.get(saga_id)

    async def get(self, saga_id: str) -> Record | None:
        """See SagaStore."""
        row = self._tables.rows.get(saga_id)
        return None if row is None else replace(row.record, read_at=self._tables.now())

    async def list(self, listing: Listing) -> Sequence[Record]:
        """See SagaStore."""
        found = [row.record for row in self._tables.rows.values() if self._matches(row.record, listing)]
        found.sort(key=lambda record: (record.created_at, record.saga_id), reverse=True)
        return [replace(record, entries=()) for record in found[: listing.size]]

    async def claim(self, limit: int) -> Sequence[Record]:
        """See SagaStore."""
        rows = [row for row in self._tables.rows.values() if self._to_be_taken_up(row)]
        orphans = [row for row in rows if row.record.owner is not None][:limit]
        due = [row for row in rows if row.record.owner is None][:limit]
        claimed = [self._claimed(row) for row in (*orphans, *due)]
        return [record for record in claimed if record.owner == self.replica_id]

    async def owned(self) -> Sequence[str]:
        """See SagaStore."""
        return [row.record.saga_id for row in self._tables.rows.values() if row.record.owner == self.replica_id]

    async def put_down(self, saga_id: str, epoch: int, seconds: float) -> None:
        """See SagaStore."""
        row = self._tables.rows.get(saga_id)
        if row is not None and (row.record.owner, row.record.epoch) == (self.replica_id, epoch):
            self._change(row, not_before=self._tables.clock.now() + seconds, owner=None)

    async def renew(self) -> None:
        """The lease of this replica lasts for LEASE_S from now."""
        self._tables.leases[self.replica_id] = self._tables.clock.now() + LEASE_S

    async def release(self) -> None:
        """See SagaStore."""
        self._tables.ended(self.replica_id)
        for saga_id in await self.owned():
            self._change(self._tables.rows[saga_id], not_before=self._tables.clock.now(), owner=None, attempts=0)

    def _to_be_taken_up(self, row: Row) -> bool:
        record = row.record
        nobodys = record.owner != self.replica_id and not self._tables.alive(record.owner)
        nobodys = nobodys and record.state not in FINAL
        return nobodys and record.version in self._versions and row.not_before <= self._tables.clock.now()

    def _claimed(self, row: Row) -> Record:
        record, sequence = row.record, len(row.record.entries)
        former = record.owner
        attempts = 1 if sequence > row.claimed_at else record.attempts + 1
        quarantined = attempts > QUARANTINE_AFTER
        alone_s = 2.0 ** (attempts - UNSPACED - 1) if attempts > UNSPACED else 0
        self._change(
            # That it was adopted will be an entry, too, but none that shows that it gets on.
            replace(row, claimed_at=sequence if former is None else sequence + 1),
            not_before=float("inf") if quarantined else self._tables.clock.now() + alone_s,
            owner=None if quarantined else self.replica_id,
            epoch=record.epoch + 1,
            attempts=attempts,
            quarantined=quarantined,
            adopted_from=former,
            read_at=self._tables.now(),
        )
        return self._tables.rows[record.saga_id].record

    def _change(self, row: Row, not_before: float, **changes: object) -> None:
        record = replace(row.record, **changes)
        self._tables.rows[record.saga_id] = replace(row, record=record, not_before=not_before)

    def _matches(self, record: Record, listing: Listing) -> bool:
        blocked = record.state not in FINAL and record.version not in self._versions
        fits = record.state in listing.states and listing.blocked in (None, blocked)
        fits = fits and listing.quarantined in (None, record.quarantined)
        return fits and (listing.after is None or (record.created_at, record.saga_id) < listing.after)


def _rest(record: Record, append: Append) -> float:
    """For how long nobody need take the saga up, seconds."""
    unheard = record.cancel_reason is not None and not append.cancel_heard
    return 0.0 if unheard or append.park_s is None else append.park_s


def _holds(record: Record, entries: Sequence[Entry]) -> bool:
    """Whether the log has these very entries, of the same epoch: then this append is a repeat."""
    written = {entry.sequence: (entry.epoch, entry.kind, entry.path) for entry in record.entries}
    return all(written.get(entry.sequence) == (entry.epoch, entry.kind, entry.path) for entry in entries)
