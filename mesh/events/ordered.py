"""Reactions that see the facts of each key in the order in which they were stored. Opt-in: see docs/ordered.md.

A stream of the group's own sources the facts and puts a partition in front of their subjects, by their key. Each
partition is a durable with one fact in flight, and every replica pulls them all: there is no coordinator, a fact that
is tried again holds up its partition, and a replica that dies holds up what it had in hand for ACK_WAIT.

The stream lets a fact go only once it is in the inbox, or parked (`mesh.events.parked`). Order follows from that alone:
neither a second delivery while the first is being handled, nor another number of partitions, nor facts that are
published again can break it.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import StreamSource, SubjectTransform

from mesh import contract
from mesh.cloudevents import event_id
from mesh.errors import Outage
from mesh.events.again import Lane
from mesh.events.bus import Bus
from mesh.events.consumer import TRIES_MAX, delay, pulled
from mesh.events.dead_letters import RESOLVED, bury
from mesh.events.durable import Durable
from mesh.events.parked import Parked
from mesh.events.reaction import Outcome, Reaction, Reactor, Then
from mesh.events.resolution import DISCARDED
from mesh.events.streams import AGAIN, DEAD_LETTERS, Stream
from mesh.postgres.database import Database, Transaction

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.events.ordered")

NAME = re.compile(r"[a-z][a-z0-9-]*")
DELAY_MAX = 2.0
"""Seconds between two tries at the most: the other keys of the partition wait as well."""
OUTAGE_TRIES = TRIES_MAX // 2
"""Deliveries after which an outage begins the count anew: only what ends without an answer reaches TRIES_MAX."""


@dataclass(frozen=True)
class Ordered:
    """A group of reactions of one service that share an order. Raises ValueError where it makes no sense."""

    name: str
    """`<service>-<purpose>`: of the durables, the inbox and the letters; where letters are replayed to. No `_`."""
    reactions: tuple[Reaction[Any], ...]
    partitions: int = 8
    """How many keys at a time; may be changed."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name for a group: lower case letters, digits and - only")
        if self.partitions < 1:
            raise ValueError(f"{self.name} has {self.partitions} partitions; it takes one at least")
        if len({fact.stream for fact in self._facts()}) != 1:
            raise ValueError(f"the facts of {self.name} are not of one stream: they have no common order")

    @property
    def stream(self) -> Stream:
        """Its own stream, which an operator provisions; one per number of partitions, so that each begins complete."""
        return Stream(
            f"{self.name.upper().replace('-', '_')}_{self.partitions}",
            subjects=(),
            sources=(
                self._source(self._facts()[0].stream, "", "fact"),
                self._source(AGAIN.name, f"{Lane.AGAIN}.{self.name}.", "again"),
                self._source(DEAD_LETTERS.name, f"{RESOLVED}.{self.name}.", RESOLVED),
            ),
        )

    def durables(self) -> list[Durable]:
        """One per partition."""
        return [
            Durable(
                self.stream.name,
                f"{self.name}_p{partition:02}",
                f"{self.name}.{partition}.>",
                max_ack_pending=1,
            )
            for partition in range(self.partitions)
        ]

    def _facts(self) -> list[contract.Fact]:
        return [contract.fact(reaction.fact) for reaction in self.reactions]

    def _source(self, stream: str, prefix: str, way: str) -> StreamSource:
        partition = f"{{{{partition({self.partitions},1)}}}}"
        moves = [
            SubjectTransform(
                f"{prefix}{fact.subject('*')}", f"{self.name}.{partition}.{way}.{fact.subject('{{wildcard(1)}}')}"
            )
            for fact in self._facts()
        ]
        return StreamSource(stream, subject_transforms=moves)


@asynccontextmanager
async def in_order(group: Ordered, database: Database, bus: Bus) -> AsyncGenerator[None]:
    """React while open. Leaving lets the reactions in progress finish. Raises Outage before it opens."""
    listener = OrderedListener(group, database, bus)
    async with pulled(bus, [(durable, listener.handle) for durable in group.durables()]):
        yield


class OrderedReactor(Reactor):
    """A reaction of a group. All of them share an inbox, whatever the number of partitions."""

    def __init__(self, group: Ordered, reaction: Reaction[Any], database: Database) -> None:
        super().__init__(group.name, reaction, database)
        self.durable = Durable(group.stream.name, group.name, "")


class OrderedListener:
    """What is done with a fact whose turn it is in its partition."""

    def __init__(self, group: Ordered, database: Database, bus: Bus) -> None:
        self.parked = Parked(database, group.name)
        self._group = group
        self._database = database
        self._bus = bus
        reactors = [OrderedReactor(group, reaction, database) for reaction in group.reactions]
        self._reactors = {reactor.fact.name: reactor for reactor in reactors}

    async def handle(self, message: Msg) -> None:
        """Tell the reaction, and the broker what came of it. If this fails, the broker delivers again after a while."""
        _, _, way, subject = message.subject.split(".", 3)
        fact = replace(message, subject=subject)  # as it was announced
        with suppress(nats.errors.Error, TimeoutError, Outage):
            try:
                await (self._resolved(fact) if way == RESOLVED else self._take(fact))
            except (nats.errors.Error, TimeoutError):
                raise
            except Exception as error:  # whatever it is: nothing may overtake it
                is_bug = not isinstance(error, Outage)
                log.warning("order_waits", subject=message.subject, error=repr(error), exc_info=is_bug)
                await self._wait_out(fact)

    async def _take(self, fact: Msg) -> None:
        reactor = self._reactors.get(fact.subject.rpartition(".")[0])
        deliveries = fact.metadata.num_delivered
        if reactor is None:  # the group has reacted to such facts once, and does no longer
            await self._pass(fact)
        elif deliveries > TRIES_MAX:
            await self._park(fact, f"nobody survives it: {deliveries - 1} deliveries without an answer")
        else:
            await self._tell(reactor, fact, is_last=deliveries == TRIES_MAX)

    async def _tell(self, reactor: Reactor, fact: Msg, *, is_last: bool) -> None:
        first = await self.parked.first(_key(fact))
        if first not in (None, _event_id(fact)):
            return await self._park(fact, f"comes after {first}, which was not handled")
        failure = Outcome.DEAD if is_last else Outcome.LATER
        result = await reactor.tell(fact, Then(outage=Outcome.LATER, failure=failure))
        if isinstance(result.error, Outage):
            raise result.error
        if result.outcome is Outcome.DEAD:
            return await self._park(fact, str(result.error) or repr(result.error))
        if result.outcome is Outcome.LATER:
            return await fact.nak(delay=delay(fact.metadata.num_delivered, DELAY_MAX))
        return await self._done(fact, release=first is not None)

    async def _park(self, fact: Msg, reason: str) -> None:
        """Pass over a fact, and over all of its key from here on."""
        event = _event_id(fact)
        if await self.parked.park(_key(fact), event, reason):
            log.error("fact_parked", group=self._group.name, subject=fact.subject, event_id=event, reason=reason)
            await bury(self._bus, fact, self._group.name, reason)
        else:
            await self._done(fact)

    async def _resolved(self, record: Msg) -> None:
        """Somebody has dealt with a letter. What was replayed comes by itself."""
        if (record.headers or {}).get("Resolved-As") == DISCARDED:
            await self._pass(record)
        else:
            await self._done(record)

    async def _pass(self, fact: Msg) -> None:
        """Regard a fact as handled."""

        async def nothing(_tx: Transaction) -> None: ...

        if event := _event_id(fact):
            await self._database.once_per_event(self._group.name, event, datetime.now(UTC))(nothing)
        await self._done(fact, release=True)

    async def _done(self, fact: Msg, *, release: bool = False) -> None:
        if release and (event := _event_id(fact)):
            await self.parked.release(event)
        await fact.ack_sync(timeout=5)

    async def _wait_out(self, fact: Msg) -> None:
        """Something that is needed does not answer: another try, by whichever replica."""
        where = fact.metadata
        if where.num_delivered < OUTAGE_TRIES:
            await fact.nak(delay=delay(where.num_delivered, DELAY_MAX))
        else:
            await self._bus.client.jetstream(timeout=5).reset_consumer(where.stream, where.consumer)


def _key(fact: Msg) -> str:
    return fact.subject.rpartition(".")[2]


def _event_id(fact: Msg) -> str | None:
    return event_id(fact.headers or {})
