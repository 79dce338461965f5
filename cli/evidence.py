"""What the broker knows of one choreographed order. No service is asked: it is there when they are all down."""

from collections.abc import AsyncIterable, Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import nats.errors
from nats.js.api import ConsumerInfo
from shop.orders.v1.orders_facts_pb2 import OrderCreated

from mesh import contract
from mesh.errors import Outage
from mesh.events import again, dead_letters, history
from mesh.events.bus import Bus
from mesh.events.dead_letters import Letter, Which
from mesh.events.history import Recorded
from mesh.events.streams import AGAIN

CONSUMERS_MAX = 256
"""Of a stream that the broker tells of at a time."""

FACTS = contract.fact(OrderCreated)
"""One of them, for the stream that all are in, and for how they are addressed."""

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """How far a durable is in its stream."""

    name: str
    stream: str
    subject: str
    """Of what it is given; empty where there are several."""
    delivered: int
    """Sequence of the last message that it was given."""
    settled: int
    """Sequence up to which everything was acknowledged, or buried."""
    waiting: int
    """Messages that it was not given yet."""
    is_read: bool
    """Whether somebody asks for more now: of a service that is down, nobody does."""


@dataclass(frozen=True)
class Evidence:
    """All of it."""

    order_id: str
    asked_at: datetime
    facts: Sequence[Recorded] = ()
    again: Sequence[Recorded] = ()
    """Those that were addressed once more, to one service."""
    letters: Sequence[Letter] = ()
    """Those that were buried, and the records of those that were resolved."""
    places: Sequence[Place] | None = ()
    """None if they could not be asked for."""
    not_asked: Sequence[str] = ()
    """What could not be asked, and why."""


async def gather(bus: Bus, order_id: str) -> Evidence:
    """Everything about one order. Raises Outage if the facts cannot be read.

    The durables come first: of a reaction that is made meanwhile, the fact that it led to is seen rather than missed.
    """
    asked_at, not_asked = datetime.now(UTC), list[str]()
    found = await _or_not("who has reacted", not_asked, _places(bus, (FACTS.stream, AGAIN.name)))
    facts = await _all(history.read(bus, FACTS.stream, FACTS.story(order_id)))
    addressed = _all(history.read(bus, AGAIN.name, again.subject("*", FACTS.story(order_id))))
    return Evidence(
        order_id=order_id,
        asked_at=asked_at,
        facts=facts,
        again=await _or_not("what was sent again", not_asked, addressed) or (),
        letters=await _or_not("the dead letters", not_asked, _letters(bus, order_id)) or (),
        places=found,
        not_asked=not_asked,
    )


async def _or_not(what: str, not_asked: list[str], asking: Awaitable[list[T]]) -> list[T] | None:
    try:
        return await asking
    except Outage as outage:
        not_asked.append(f"{what}: {outage}")
        return None


async def _all(found: AsyncIterable[T]) -> list[T]:
    return [each async for each in found]


async def _letters(bus: Bus, order_id: str) -> list[Letter]:
    which = Which(key=order_id)
    buried = await _all(dead_letters.letters(bus, which))
    return buried + await _all(dead_letters.letters(bus, which, resolved=True))


async def _places(bus: Bus, streams: Iterable[str]) -> list[Place]:
    try:
        return [_place(info) for stream in streams for info in await _durables(bus, stream)]
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise Outage(repr(error)) from error


async def _durables(bus: Bus, stream: str) -> list[ConsumerInfo]:
    found: list[ConsumerInfo] = []
    while True:
        some = await bus.client.jetstream().consumers_info(stream, len(found))
        found += some
        if len(some) < CONSUMERS_MAX:
            return [info for info in found if info.config.durable_name]


def _place(info: ConsumerInfo) -> Place:
    return Place(
        name=info.name,
        stream=info.stream_name,
        subject=info.config.filter_subject or "",
        delivered=info.delivered.stream_seq if info.delivered else 0,
        settled=info.ack_floor.stream_seq if info.ack_floor else 0,
        waiting=info.num_pending or 0,
        is_read=bool(info.num_waiting),
    )
