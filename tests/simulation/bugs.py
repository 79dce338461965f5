"""Known bugs, planted one at a time, to show that the simulation finds them. Production code has no switch for them."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast
from unittest.mock import patch

from orchestrator import engine, log
from orchestrator.caller import Call
from orchestrator.log import FINAL, Do, Entry, Kind, Position, Undo
from orchestrator.memory import MemoryStore, Row
from orchestrator.run import Run
from orchestrator.store import Append, Appended, Record
from tests.simulation.participants import Service
from tests.simulation.store import WatchedStore

_LEGAL = log._LEGAL  # pyright: ignore[reportPrivateUsage]


class UnfencedStore(WatchedStore):
    """Appends of anybody are taken for the owner's."""

    async def append(self, append: Append) -> Appended:
        record = self.tables.rows[append.saga_id].record
        myself, self.replica_id = self.replica_id, cast(str, record.owner)
        try:
            return await super().append(replace(append, epoch=record.epoch))
        finally:
            self.replica_id = myself


class UnfencedService(Service):
    """Does what an earlier owner says."""

    def fence(self, call: Call) -> None:
        """Whatever the epoch."""


class LocalClockStore(WatchedStore):
    """Whether a lease is over is judged by the clock of whoever adopts."""

    def _to_be_taken_up(self, row: Row) -> bool:
        lease_ends = self.tables.leases.get(row.record.owner or "", 0.0)
        return lease_ends <= self.clock.now() and _is_open_and_due(self, row)


class GreedyStore(WatchedStore):
    """Sagas are adopted whoever owns them."""

    def _to_be_taken_up(self, row: Row) -> bool:
        return row.record.owner != self.replica_id and _is_open_and_due(self, row)


class UnnoticedGreedyStore(GreedyStore):
    """And nobody minds."""

    def _claimed(self, row: Row) -> Record:
        return MemoryStore._claimed(self, row)


def _is_open_and_due(store: WatchedStore, row: Row) -> bool:
    return row.record.state not in FINAL and row.not_before <= store.tables.clock.now()


@contextmanager
def fresh_request_ids() -> Generator[None]:
    """Each attempt has a request id of its own."""
    prepared = engine._prepared  # pyright: ignore[reportPrivateUsage]

    def fresh(run: Run, action: Do | Undo) -> tuple[Call, str]:
        call, verb = prepared(run, action)
        cast(Any, call.request).request_id += f"/{call.epoch}.{call.attempt}"
        return call, verb

    with patch.object(engine, "_prepared", fresh):
        yield


@contextmanager
def skipped_undos() -> Generator[None]:
    """A step whose outcome is unknown is taken for one that never happened."""
    action, announced, unknown = _LEGAL[Kind.STEP_UNKNOWN]

    def forgotten(position: Position, action: Do, entry: Entry) -> dict[str, Any]:
        others = tuple(step for step in position.to_undo if step is not action.step)
        return {**unknown(position, action, entry), "to_undo": others}

    with patch.dict(_LEGAL, {Kind.STEP_UNKNOWN: (action, announced, forgotten)}):
        yield


@dataclass(frozen=True)
class Bug:
    """What is different in a world with this bug."""

    finding: str
    """Part of what is said of it."""
    store: type[WatchedStore] = WatchedStore
    service: type[Service] = Service
    planted: Callable[[], AbstractContextManager[None]] = nullcontext


NONE = Bug("")
BUGS = {
    "no_fence": Bug("writes", store=UnfencedStore),
    "no_fence_at_participants": Bug("serves", service=UnfencedService),
    "fresh_request_id": Bug("happens a second time", planted=fresh_request_ids),
    "undo_skipped": Bug("UNWOUND by undoing", planted=skipped_undos),
    "local_lease_clock": Bug("which is alive", store=LocalClockStore),
    "adopts_the_living": Bug("which is alive", store=GreedyStore),
}
