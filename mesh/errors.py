"""What can go wrong: a refusal is an answer (the business says no), an outage is none."""

from enum import Enum


class Kind(Enum):
    """What sort of no; each has one gRPC code (AIP-193)."""

    INVALID = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    REFUSED = "FAILED_PRECONDITION"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    ABORTED = "ABORTED"
    """Not to this caller, whatever it asks. Says nothing about the request: never a stored outcome, never passed on."""


class Refusal(Exception):
    """Raised where the business decides.

    `reason` is UPPER_SNAKE_CASE, at most 63 characters, and stable; `message` is for people; each variable part
    of the message is also in `metadata`.
    """

    def __init__(self, kind: Kind, reason: str, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.reason = reason
        self.message = message
        self.metadata = metadata


def refused(reason: str, message: str, **metadata: str) -> Refusal:
    """The state of things does not allow it."""
    return Refusal(Kind.REFUSED, reason, message, **metadata)


def not_found(reason: str, message: str, **metadata: str) -> Refusal:
    """There is no such thing."""
    return Refusal(Kind.NOT_FOUND, reason, message, **metadata)


class Outage(Exception):
    """Something this process depends on does not answer: a database, a peer, the outside world.

    Nothing is known about what was asked of it. Whoever called may repeat.
    """
