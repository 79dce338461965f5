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
    """The replica that runs it; None where nobody does, and always once it has ended."""
    epoch: int
    attempts: int
    """How often it was taken up."""
    cancel_reason: str | None
    """Set once a cancel was asked for."""
    created_at: datetime
    updated_at: datetime
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Append:
    """What an owner adds to a log, all or nothing."""

    saga_id: str
    epoch: int
    entries: Sequence[Entry]
    state: State
    """Where the saga stands after it. A final one gives up the ownership."""


@dataclass(frozen=True)
class Listing:
    """Which sagas to list: `size` of them, older than `after`."""

    states: Collection[State]
    blocked: bool | None = None
    """Whether they must, or must not, be open with a version that is not deployed here."""
    size: int = 50
    after: tuple[datetime, str] | None = None
    """Creation time and id of the last one on the page before."""


class Fenced(Exception):
    """The saga is not, or no longer, this replica's to write."""


class Conflict(Exception):
    """There is a saga with this id, of another workflow or with another input."""


class SagaStore(Protocol):
    """The store as one incarnation of a replica uses it.

    Appends wait as long as the database is away. The other methods raise `mesh.errors.Outage` if it is.
    """

    replica_id: str

    async def start(self, new: NewSaga, *, owned: bool = True) -> Record:
        """The saga is stored with its first entries, and is this replica's, in epoch 1, if `owned` and its lease is
        not over. If it was started before, nothing is changed and it is returned as it is. Raises Conflict.
        """
        ...

    async def append(self, append: Append) -> str | None:
        """The entries are stored, once however often this is repeated, and the state is the new one.

        Returns the reason of a cancel that was asked for, if any. Raises Fenced, with nothing stored.
        """
        ...

    async def cancel(self, saga_id: str, reason: str) -> Record | None:
        """Each later append returns the reason; the first one stays. Changes nothing if the saga has ended.

        Returns the saga without its log, None if there is none.
        """
        ...

    async def get(self, saga_id: str) -> Record | None:
        """The saga with its log, as of one moment."""
        ...

    async def list(self, listing: Listing) -> Sequence[Record]:
        """Sagas, newest first, without their logs."""
        ...

    async def claim(self, limit: int) -> Sequence[Record]:
        """Up to `limit` open sagas of versions deployed here, whose owner's lease is over or that have none, are
        this replica's, in a new epoch. Returns them with their logs.
        """
        ...

    async def owned(self) -> Sequence[str]:
        """The ids of the open sagas that are this replica's."""
        ...

    async def renew(self) -> None:
        """The lease of this replica lasts for LEASE_S from now, by the store's clock."""
        ...

    async def release(self) -> None:
        """No saga is this replica's, and its lease is over. What it still tries to append is fenced."""
        ...


LEASE_S = 3.0
"""How long a lease lasts without being renewed, seconds."""
