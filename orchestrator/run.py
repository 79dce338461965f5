"""One saga while this replica runs it."""

import asyncio
from collections import Counter
from datetime import datetime

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from orchestrator.blocks import Known
from orchestrator.branches import Branches
from orchestrator.log import Position, fold
from orchestrator.saga import AnySaga
from orchestrator.store import Record


class Run:
    """What the engine keeps of a saga in memory. Steady state reads nothing back from the store."""

    def __init__(self, saga: AnySaga, record: Record, now: float) -> None:
        """`now`: by the clock of this process. Raises IllegalLog."""
        self.saga = saga
        self.saga_id = record.saga_id
        self.epoch = record.epoch
        self.created_at = record.created_at
        self.position: Position = fold(saga, record.entries)
        self.adopted_from = record.adopted_from if record.entries[-1].epoch < record.epoch else None
        """Set as long as the log does not tell of it."""
        self.cancel_reason = record.cancel_reason
        self.attempts = Counter[str]()
        """By the key of the call."""
        self.not_before: dict[str, float] = {}
        """When the next attempt is due, by path and by the clock of this process."""
        self.branches = Branches()
        self.parked = False
        self.stopped = False
        self.woken = asyncio.Event()
        """Set to end a wait early."""
        self._input = _unpacked(saga, record.input)
        self.heard(record.read_at, now)

    @property
    def known(self) -> Known[Message]:
        """What the next request may be built from."""
        return Known(self._input, self.position.answers, self.position.failure)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to do for this replica."""
        return self.position.ended or self.parked or self.stopped

    @property
    def must_unwind(self) -> bool:
        """Whether a cancel was asked for that can still be heeded."""
        return self.cancel_reason is not None and self.position.cancellable

    def heard(self, at: datetime, now: float) -> None:
        """The store's clock said `at`, not later than when ours says `now`."""
        self._heard = at.timestamp()
        self._heard_at = now

    def elapsed(self, since: datetime | None, now: float | None = None) -> float:
        """Seconds that had passed by the store's clock when it last told; or until `now`, for what our clock, which
        may jump, is good enough.
        """
        if since is None:
            return 0.0
        passed = 0.0 if now is None else now - self._heard_at
        return max(self._heard + passed - since.timestamp(), 0.0)

    def cancel(self, reason: str | None) -> None:
        """A cancel was asked for; it is heeded between two attempts."""
        if reason is not None and self.cancel_reason is None:
            self.cancel_reason = reason
            self.woken.set()

    def stop(self) -> None:
        """Start nothing more; another replica goes on from the log."""
        self.stopped = True
        self.woken.set()


def _unpacked(saga: AnySaga, packed: bytes) -> Message:
    message = saga.input()
    if not Any.FromString(packed).Unpack(message):
        raise TypeError(f"the stored input is no {saga.input.DESCRIPTOR.full_name}")
    return message
