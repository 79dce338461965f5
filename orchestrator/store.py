"""Where sagas are kept, behind a port: who owns a saga, and who may write its log.

A saga is owned by one replica at a time, in one epoch; each change of owner raises the epoch. What an earlier epoch
still tries to write is fenced: nothing of it is stored.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from orchestrator.log import Entry, State


@dataclass(frozen=True)
class NewSaga:
    """A saga that is to be started."""

    saga_id: str
    workflow: str
    version: str
    """The fingerprint of its definition."""
    input: bytes
    """A serialized `google.protobuf.Any`."""
    trace_context: dict[str, str]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Record:
    """A saga as it is stored."""

    saga_id: str
    workflow: str
    version: str
    input: bytes
    trace_context: dict[str, str]
    state: State
    owner: str | None
    """The replica that runs it; None where nobody does: it waits, or has ended."""
    epoch: int
    attempts: int
    """How often it was taken up since it last got on, or was put down in order."""
    quarantined: bool
    """It was taken up too often without getting on: nobody takes it up until it is resumed."""
    cancel_reason: str | None
    """Set once a cancel was asked for."""
    created_at: datetime
    updated_at: datetime
    read_at: datetime
    """What the store's clock said when this was read."""
    entries: tuple[Entry, ...]
    adopted_from: str | None = None
    """The owner before this one, if it was gone when this one took the saga up."""


@dataclass(frozen=True)
class Append:
    """What an owner adds to a log, all or nothing."""

    saga_id: str
    epoch: int
    sequence: int
    """Of the first entry; of the one that comes next, where there is none."""
    entries: Sequence[Entry]
    state: State
    """Where the saga stands after it. A final one gives up the ownership."""
    park_s: float | None = None
    """Gives up the ownership too: nobody need take the saga up for so many seconds."""
    cancel_heard: bool = False
    """Whether the owner knows of a cancel; one that it does not know of cuts the time short."""


@dataclass(frozen=True)
class Appended:
    """What an owner learns when its append is stored."""

    at: datetime
    """When, by the store's clock."""
    cancel_reason: str | None
    """Of a cancel that was asked for, if any."""


@dataclass(frozen=True)
class Listing:
    """Which sagas to list: `size` of them, older than `after`."""

    states: Collection[State]
    blocked: bool | None = None
    """Whether they must, or must not, be open with a version that is not deployed here."""
    quarantined: bool | None = None
    size: int = 50
    after: tuple[datetime, str] | None = None
    """Creation time and id of the last one on the page before."""


class Fenced(Exception):
    """The saga is not, or no longer, this replica's to write."""


class Conflict(Exception):
    """There is a saga with this id, of another workflow or with another input."""


class SagaStore(Protocol):
    """The store as one incarnation of a replica uses it.

    Starts and appends wait as long as the database is away. The other methods raise `mesh.errors.Outage` if it is.
    """

    replica_id: str

    async def start(self, new: NewSaga, *, owned: bool = True) -> Record:
        """The saga is stored with its first entries, and is this replica's, in epoch 1, if `owned` and its lease is
        not over. If it was started before, nothing is changed and it is returned as it is. Raises Conflict.
        """
        ...

    async def append(self, append: Append) -> Appended:
        """The entries are stored, once however often this is repeated, and the state is the new one.

        Raises Fenced, with nothing stored. One without entries has nothing that could be fenced, and is let pass.
        """
        ...

    async def cancel(self, saga_id: str, reason: str) -> Record | None:
        """Each later append returns the reason; the first one stays. A saga that waits is to be taken up at once,
        one in quarantine stays there.

        Changes nothing if the saga has ended. Returns the saga, None if there is none.
        """
        ...

    async def resume(self, saga_id: str) -> Record | None:
        """A saga that waits, or is quarantined, is to be taken up at once. Changes nothing of one that has an owner
        or has ended. Returns the saga, None if there is none.
        """
        ...

    async def get(self, saga_id: str) -> Record | None:
        """The saga with its log, as of one moment."""
        ...

    async def list(self, listing: Listing) -> Sequence[Record]:
        """Sagas, newest first, without their logs."""
        ...

    async def claim(self, limit: int) -> Sequence[Record]:
        """Open sagas of versions deployed here that nobody runs are this replica's, in a new epoch: up to `limit` of
        those whose owner is gone, and as many of those whose time has come. Returns them with their logs.

        An owner is gone when its lease is over or its process has ended. A saga that is taken up again and again
        without getting on is left alone for longer each time, and quarantined after QUARANTINE_AFTER attempts.
        """
        ...

    async def owned(self) -> Sequence[str]:
        """The ids of the open sagas that are this replica's."""
        ...

    async def put_down(self, saga_id: str, epoch: int, seconds: float) -> None:
        """Nobody takes the saga up for so many seconds: it failed here. Changes nothing if it is not this replica's
        in this epoch. Unlike what an append parks, it goes on counting as an attempt.
        """
        ...

    async def release(self) -> None:
        """No saga is this replica's, and its lease is over. What it still tries to append is fenced."""
        ...


LEASE_S = 3.0
"""How long a lease lasts without being renewed, seconds."""
QUARANTINE_AFTER = 10
"""Attempts without getting on."""
UNSPACED = 2
"""So many of them follow each other at once; then a saga is left alone for 1 s, 2 s, 4 s, ..."""
