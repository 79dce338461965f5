"""Calling participants, behind a port: unary gRPC today, a stream of batched commands is possible."""

from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import Message

from mesh.contract import Method


@dataclass(frozen=True)
class Call:
    """One attempt to do or undo a step."""

    method: Method
    request: Message
    key: str
    """The idempotency key: also the `request_id`, where the request has one."""
    saga_id: str
    path: str
    attempt: int
    """From 1, each time a replica takes up the step."""
    epoch: int


class Caller(Protocol):
    """Delivers calls to participants."""

    async def call(self, call: Call) -> bytes:
        """The serialized answer. Raises Refused, NoAnswer or StaleEpoch."""
        ...


class Refused(Exception):
    """The participant says no: this request has not been and will not be done."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class NoAnswer(Exception):
    """Nobody knows whether the participant did it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class StaleEpoch(Exception):
    """The participant has heard from a later owner of the saga: stop, decide nothing."""
