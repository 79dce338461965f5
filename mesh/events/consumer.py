"""Consumers: each reaction is a durable of its own, and each service has two more, for facts that come once more.

A fact is acknowledged after the commit that handled it. An outage is tried again with a growing delay, without end.
What can never be handled goes to the dead letters with its reason. What was delivered again and again without anybody
ever answering for it may be what kills its handlers, or may only have been at hand each time: such facts are handled
alone, one at a time, and the one that kills even then is buried.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg

from mesh.background import ended
from mesh.errors import Outage
from mesh.events import again, durable
from mesh.events.again import Lane
from mesh.events.bus import Bus
from mesh.events.dead_letters import bury
from mesh.events.durable import Durable
from mesh.events.pull import Handle, Pull
from mesh.events.reaction import Outcome, Reaction, Reactor, Then
from mesh.postgres.database import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.events.consumer")

TRIES_MAX = 10
"""Deliveries of a message before it is sent again, or, if nobody ever answered for it, handled alone."""
ALONE_MAX = 3
"""Deliveries of a fact that is handled alone; whatever else the process died of, three times in a row is no chance."""
DELAY_MAX = 10.0
"""Seconds between two tries at the most."""
CATCH_UP_SECONDS = 10.0
"""How long, at the start, what takes something back has precedence."""


@asynccontextmanager
async def consuming(
    service: str, reactions: Iterable[Reaction[Any]], database: Database, bus: Bus
) -> AsyncGenerator[None]:
    """React while open: first to what takes something back. Leaving lets the reactions in progress finish."""
    listener = Listener(service, [Reactor(service, reaction, database) for reaction in reactions], bus)
    undoing, others = listener.sources()
    async with pulled(bus, undoing), pulled(bus, others, after=[source for source, _ in undoing]):
        yield


@asynccontextmanager
async def pulled(
    bus: Bus, sources: Iterable[tuple[Durable, Handle]], after: Sequence[Durable] = ()
) -> AsyncGenerator[None]:
    """Pull these durables while open, from when nothing waits for others. Leaving lets messages in progress finish."""
    consumers = [Consumer(bus, source, handle) for source, handle in sources]
    caught_up = asyncio.ensure_future(_caught_up(bus, after))
    running = [asyncio.ensure_future(consumer.run(caught_up)) for consumer in consumers]
    try:
        yield
    finally:
        await asyncio.gather(*(ended(task) for task in (caught_up, *running)), return_exceptions=True)
        await asyncio.gather(*(consumer.settled() for consumer in consumers))


async def _caught_up(bus: Bus, durables: Sequence[Durable]) -> None:
    """Returns once nothing waits for any of these; or after a while, so that one that fails does not hold up all."""
    await bus.connected.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(CATCH_UP_SECONDS):
            while not all([await _is_idle(bus, each) for each in durables]):  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.05)


async def _is_idle(bus: Bus, durable: Durable) -> bool:
    try:
        info = await bus.client.jetstream().consumer_info(durable.stream, durable.name)
    except (nats.errors.Error, TimeoutError):
        return False
    return not info.num_pending and not info.num_ack_pending


class Consumer:
    """One durable, and what is done with its messages."""

    def __init__(self, bus: Bus, source: Durable, handle: Handle) -> None:
        self._bus = bus
        self._source = source
        self._pull = Pull(bus, source.stream, source.name, handle)

    async def run(self, caught_up: "asyncio.Future[None]") -> None:
        """Pull until cancelled, whatever happens; the durable is there at once."""
        await self._bus.connected.wait()
        while True:
            try:
                await self._bus.consume(self._source.stream, self._source.config())
                await asyncio.wait({caught_up})
                await self._pull.for_ever()
            except (Outage, nats.errors.Error) as error:
                log.warning("consumer_waits", durable=self._source.name, error=repr(error))
                await asyncio.sleep(0.5)
            except Exception:  # whatever it is: nobody else would react
                log.exception("consumer_failed", durable=self._source.name)
                await asyncio.sleep(0.5)

    async def settled(self) -> None:
        """Returns once the messages in progress are finished."""
        await self._pull.settled()


class Listener:
    """A service's event door: all its reactions, and the ways by which they are told of their facts."""

    def __init__(self, service: str, reactors: list[Reactor], bus: Bus) -> None:
        self._service = service
        self._reactors = {reactor.fact.name: reactor for reactor in reactors}
        self._bus = bus

    def sources(self) -> tuple[list[tuple[Durable, Handle]], list[tuple[Durable, Handle]]]:
        """Each durable, and what is done with its messages: those that take something back, and the others."""
        if not self._reactors:
            return [], []
        *told, alone = durable.of_service(self._service, [reactor.fact for reactor in self._reactors.values()])
        undoing = {reactor.durable for reactor in self._reactors.values() if reactor.undoes}
        return (
            [(each, self.hear) for each in told if each in undoing],
            [*((each, self.hear) for each in told if each not in undoing), (alone, self.hear_alone)],
        )

    async def hear(self, message: Msg) -> None:
        """Tell the reaction, and the broker what came of it. If this fails, the broker delivers again after a while."""
        with suppress(nats.errors.Error, TimeoutError, Outage):
            if message.metadata.num_delivered > TRIES_MAX:
                await self._send(message, Lane.ALONE)
            elif message.metadata.num_delivered == TRIES_MAX:
                await self._settle(message, Then(outage=Outcome.AGAIN, failure=Outcome.ALONE))
            else:
                await self._settle(message, Then(outage=Outcome.LATER, failure=Outcome.LATER))

    async def hear_alone(self, message: Msg) -> None:
        """The same for a fact that nobody has answered for, while no other of these is in hand."""
        with suppress(nats.errors.Error, TimeoutError, Outage):
            if message.metadata.num_delivered > ALONE_MAX:
                log.error("deadly_fact", subject=message.subject)
                await self._bury(message, f"no process survives it: {again.tries(message)} deliveries, and no answer")
                return
            log.warning("handled_alone", subject=message.subject, deliveries=message.metadata.num_delivered)
            is_last = message.metadata.num_delivered == ALONE_MAX
            await self._settle(message, Then(Outcome.AGAIN, failure=Outcome.DEAD if is_last else Outcome.LATER))

    async def _settle(self, message: Msg, then: Then) -> None:
        reactor = self._reactors.get(again.first_subject(message.subject).rpartition(".")[0])
        if reactor is None:
            await self._bury(message, f"{self._service} does not react to it")
            return
        result = await reactor.tell(message, then)
        match result.outcome:
            case Outcome.DONE | Outcome.DUPLICATE:
                await message.ack_sync(timeout=5)
            case Outcome.LATER:
                await message.nak(delay=delay(again.tries(message), DELAY_MAX))
            case Outcome.AGAIN:
                await self._send(message, Lane.AGAIN)
            case Outcome.ALONE:
                await self._send(message, Lane.ALONE)
            case Outcome.DEAD:
                await self._bury(message, str(result.error))

    async def _send(self, message: Msg, lane: Lane) -> None:
        """Send it to ourselves, however long that takes: unanswered, it would count as deadly."""
        while True:
            try:
                await again.send(self._bus, self._service, message, lane)
                break
            except Outage as outage:
                log.warning("not_sent_again", subject=message.subject, error=str(outage))
                with suppress(nats.errors.Error):
                    await message.in_progress()
                await asyncio.sleep(1)
        await message.ack_sync(timeout=5)

    async def _bury(self, message: Msg, reason: str) -> None:
        reactor = self._reactors.get(again.first_subject(message.subject).rpartition(".")[0])
        by = reactor.durable if reactor else durable.of_lane(self._service, Lane.AGAIN)
        await bury(self._bus, message, by.name, reason)


def delay(tries: int, longest: float) -> float:
    """Seconds to the next try: doubled each time, with jitter, so that a recovering peer is not stormed."""
    return min(longest, 0.1 * 2 ** min(tries, 10)) * random.uniform(0.5, 1)  # noqa: S311
