"""One delivery of a fact, taken step by step."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from mesh import contract
from mesh.background import ended
from mesh.events import durable
from mesh.events.reaction import Reaction
from mesh.postgres.database import Database, Once, Transaction


async def _nowhere() -> None:
    """Nobody stops what is not an attempt."""


_stop: ContextVar[Callable[[], Awaitable[None]]] = ContextVar("_stop", default=_nowhere)


@dataclass(frozen=True)
class Delivery:
    """A fact for one durable."""

    service: str
    reaction: Reaction[Any]
    fact: Message
    event_id: str
    announced_at: datetime

    @property
    def durable(self) -> str:
        return durable.of_fact(self.service, contract.fact(self.fact)).name


class Attempt:
    """A reaction to a delivery. It stops before it asks the outside world, and before it commits its outcome."""

    def __init__(self, delivery: Delivery, database: Database) -> None:
        self.delivery = delivery
        self._may_go_on, self._has_stopped = asyncio.Event(), asyncio.Event()
        self._reacting = asyncio.ensure_future(self._react(database))
        self._reacting.add_done_callback(lambda _: self._has_stopped.set())

    async def go_on(self) -> bool:
        """Go on to the next stop. Returns whether this was the end; raises what the reaction raises."""
        self._has_stopped.clear()
        self._may_go_on.set()
        await self._has_stopped.wait()
        if self._reacting.done():
            self._reacting.result()
        return self._reacting.done()

    async def die(self) -> None:
        """Be killed at the stop."""
        await ended(self._reacting)

    async def _react(self, database: Database) -> None:
        await self._turn()
        _stop.set(self._stop)
        it, key = self.delivery, getattr(self.delivery.fact, contract.fact(self.delivery.fact).key)
        once: Any = StoppingOnce(
            database.once_per_event(it.durable, it.event_id, it.announced_at, it.reaction.leads_to, key)
        )
        await it.reaction.react(it.fact, once)

    async def _stop(self) -> None:
        self._has_stopped.set()
        await self._turn()

    async def _turn(self) -> None:
        await self._may_go_on.wait()
        self._may_go_on.clear()


class StoppingOnce:
    """Stops before it does its work."""

    def __init__(self, once: Once) -> None:
        self._once = once
        self.announced_at = once.announced_at

    async def __call__(self, work: Callable[[Transaction], Awaitable[None]]) -> None:
        await _stop.get()()
        await self._once(work)

    async def alone(self, work: Callable[[Transaction], Awaitable[None]]) -> None:
        await _stop.get()()
        await self._once.alone(work)


class Stopping:
    """Somebody outside: who asks stops before."""

    def __init__(self, outside: object) -> None:
        self._outside = outside

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._outside, name)

        async def asked(*arguments: object) -> object:
            await _stop.get()()
            return await method(*arguments)

        return asked
