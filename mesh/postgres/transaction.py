"""A transaction in progress: where its work reads and writes, and the facts that are committed with it."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from mesh.cloudevents import Event, announce
from mesh.errors import Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from google.protobuf.message import Message

    from mesh.postgres.database import Database
    from mesh.postgres.lockstep import Session


class Transaction:
    """What work is given."""

    def __init__(self, connection: Session, database: Database, cause: str) -> None:
        self.connection = connection
        self._database = database
        self._cause = cause
        self.events: list[Event] = []
        """What it announces."""
        self.then: list[Callable[[], object]] = []
        """What is to be done once it is committed."""

    def announce(self, fact: Message) -> datetime:
        """Put a fact into the outbox, committed with everything else. Returns its time, as everybody will be told it.

        Its id follows from who announces it, what, about whom and why, so that handling the same cause again
        makes the same event. Raises Outage while the outbox is full.
        """
        if self._database.full:
            raise Outage(self._database.full)
        event = announce(fact, self._database.source, self._cause)
        self.events.append(event)
        return event.announced_at

    def after_commit(self, do: Callable[[], object]) -> None:
        """Have this done, in the present trace, once everything is committed, and never if it is not: to count it."""
        self.then.append(partial(copy_context().run, do))


def columns(events: Sequence[Event]) -> tuple[list[Any], ...]:
    """Of the outbox rows of these facts."""
    names = ("key", "stream", "subject", "headers", "payload")
    return tuple([getattr(event, name) for event in events] for name in names)


class HandledBefore(Exception):
    """Some keys have been handled: what was done for them again, and with them, is rolled back."""

    def __init__(self, keys: Collection[str]) -> None:
        super().__init__(*keys)
        self.keys = keys
