"""The inbox: an event is handled once per durable, and events that come at the same time share a transaction."""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from mesh.postgres.gathered import Gathered
from mesh.postgres.handled import mark_events
from mesh.postgres.lockstep import Lockstep
from mesh.postgres.transaction import HandledBefore, Transaction, columns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from google.protobuf.message import Message

    from mesh.postgres.database import Database

LEISURE = 0.02
"""Seconds that an event may wait for company if nothing follows from it that anybody could wait for."""


@dataclass
class Once:
    """Awaited with work, does it in the transaction that marks a fact as handled by a durable.

    Does nothing for a fact handled before. Raises Outage, with nothing done, if the database does not answer.
    """

    database: Database
    durable: str
    event_id: str
    announced_at: datetime
    """When the fact was announced, by the clock of who announced it."""
    leads_to: tuple[type[Message], ...]
    """What the work may announce."""
    about: str
    """The key of the fact."""
    was_handled: bool = field(default=False, init=False)
    """Whether it was found to be handled before."""

    async def __call__(self, work: Callable[[Transaction], Awaitable[None]]) -> None:
        await self.database.inbox.handle(self, work)

    async def alone(self, work: Callable[[Transaction], Awaitable[None]]) -> None:
        """The same in a transaction that is shared with nobody: for work that holds what others want, too."""

        async def answering(tx: Transaction) -> Empty:
            await work(tx)
            self.check(tx)
            return Empty()

        try:
            await self.database.handle(self.event_id, self.key, b"", answering, None)
        except HandledBefore:
            self.was_handled = True

    @property
    def key(self) -> str:
        """By which the table `handled` knows it."""
        return f"event/{self.durable}/{self.event_id}"

    def check(self, tx: Transaction) -> None:
        """Raises TypeError if something was announced that the reaction does not declare."""
        if undeclared := {event.kind for event in tx.events} - {fact.DESCRIPTOR.full_name for fact in self.leads_to}:
            raise TypeError(f"{self.durable} does not lead to {', '.join(sorted(undeclared))}, says its Reaction")


@dataclass(frozen=True)
class _Handling:
    once: Once
    work: Callable[[Transaction], Awaitable[None]]
    context: Context
    """Its trace, which is not that of its company."""


class Inbox:
    """Those events that are being handled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gathered = Gathered(self._together, self._alone)

    async def handle(self, once: Once, work: Callable[[Transaction], Awaitable[None]]) -> None:
        """Handle an event, with others if there are any. Raises what the work raises; Outage."""
        handling = _Handling(once, work, copy_context())
        await self._gathered.do(handling, key=once.about, within=0 if once.leads_to else LEISURE)

    async def _together(self, group: Sequence[_Handling]) -> None:
        """In one transaction; where some were handled before, in another one without them."""
        try:
            await self._attempt(group)
        except HandledBefore as repeats:
            for each in group:
                each.once.was_handled = each.once.key in repeats.keys
            await self._attempt([each for each in group if not each.once.was_handled])

    async def _attempt(self, group: Sequence[_Handling]) -> None:
        database = self._database
        async with database.transaction() as connection:
            lockstep = Lockstep(connection)
            transactions = [Transaction(lockstep, database, each.once.event_id) for each in group]
            works = [partial(each.work, tx) for each, tx in zip(group, transactions, strict=True)]
            await lockstep.run(list(zip(works, [each.context for each in group], strict=True)))
            for each, tx in zip(group, transactions, strict=True):
                each.once.check(tx)
            facts = columns([event for tx in transactions for event in tx.events])
            if before := await mark_events(connection, [each.once.key for each in group], facts):
                raise HandledBefore(before)
        database.committed(*transactions)

    async def _alone(self, handling: _Handling) -> None:
        work = handling.once.alone(handling.work)
        await asyncio.get_running_loop().create_task(work, context=handling.context)
