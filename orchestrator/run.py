"""One saga while this replica runs it."""

import asyncio

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from orchestrator.log import Position, fold
from orchestrator.saga import AnySaga, Facts
from orchestrator.store import Record


class Run:
    """What the engine keeps of a saga in memory. Steady state reads nothing back from the store."""

    def __init__(self, saga: AnySaga, record: Record) -> None:
        """Raises IllegalLog."""
        self.saga = saga
        self.saga_id = record.saga_id
        self.epoch = record.epoch
        self.trace_context = record.trace_context
        self.position: Position = fold(saga, record.entries)
        self.cancel_reason = record.cancel_reason
        self.stopped = False
        self.woken = asyncio.Event()
        """Set to end a wait early."""
        self._input = _unpacked(saga, record.input)

    @property
    def facts(self) -> Facts[Message]:
        """What the next request may be built from."""
        return Facts(self._input, self.position.answers, self.position.failure)

    @property
    def must_unwind(self) -> bool:
        """Whether a cancel was asked for that can still be heeded."""
        return self.cancel_reason is not None and self.position.cancellable

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
