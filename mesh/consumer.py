"""Consumers: each reaction is a durable of its own, and each service has two more.

A fact is acknowledged after the commit that handled it. An outage is tried again with a growing delay, without end:
what the broker will not deliver once more is sent again, to this service only, and comes by the durable `_again`. What
can never be handled goes to the dead letters with its reason. What nobody ever answered for, as when the process dies
of it, is tried alone (`mesh.exhausted`).
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg

from mesh import again, durable
from mesh.background import ended
from mesh.bus import Bus
from mesh.database import Database
from mesh.dead_letters import bury
from mesh.durable import Durable
from mesh.errors import Outage
from mesh.exhausted import Exhausted
from mesh.pull import Handle, Pull
from mesh.reaction import Outcome, Reaction, Reactor

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.consumer")

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
    """A service's event door: all its reactions, and the three ways by which they are told of their facts."""

    def __init__(self, service: str, reactors: list[Reactor], bus: Bus) -> None:
        self._service = service
        self._reactors = {reactor.fact.name: reactor for reactor in reactors}
        self._bus = bus

    def sources(self) -> tuple[list[tuple[Durable, Handle]], list[tuple[Durable, Handle]]]:
        """Each durable, and what is done with its messages: those that take something back, and the others."""
        if not self._reactors:
            return [], []
        *told, given_up = durable.of_service(self._service, [reactor.fact for reactor in self._reactors.values()])
        exhausted = Exhausted(self._bus, told, self._settle_for_good, self._bury)
        undoing = {reactor.durable for reactor in self._reactors.values() if reactor.undoes}
        heard = [(each, partial(self.hear, each)) for each in told]
        return (
            [source for source in heard if source[0] in undoing],
            [*(source for source in heard if source[0] not in undoing), (given_up, exhausted.handle)],
        )

    async def hear(self, source: Durable, message: Msg) -> None:
        """Tell the reaction, and the broker what came of it. If this fails, the broker delivers again after a while."""
        with suppress(nats.errors.Error, TimeoutError, Outage):
            await self._settle(message, is_last=message.metadata.num_delivered >= source.max_deliver)

    async def _settle_for_good(self, message: Msg) -> None:
        await self._settle(message, is_last=True)

    async def _settle(self, message: Msg, *, is_last: bool) -> None:
        reactor = self._reactors.get(again.first_subject(message.subject).rpartition(".")[0])
        if reactor is None:
            await self._bury(message, f"{self._service} does not react to it")
            return
        result = await reactor.tell(message, is_last=is_last)
        match result.outcome:
            case Outcome.DONE | Outcome.DUPLICATE:
                await message.ack_sync(timeout=5)
            case Outcome.LATER:
                await message.nak(delay=_delay(again.tries(message)))
            case Outcome.AGAIN:
                await again.send(self._bus, self._service, message)
                await message.ack_sync(timeout=5)
            case Outcome.DEAD:
                await self._bury(message, str(result.error))

    async def _bury(self, message: Msg, reason: str) -> None:
        reactor = self._reactors.get(again.first_subject(message.subject).rpartition(".")[0])
        by = reactor.durable if reactor else durable.of_again(self._service)
        await bury(self._bus, message, by.name, reason)


def _delay(tries: int) -> float:
    """Seconds to the next try: doubled each time, with jitter, so that a recovering peer is not stormed."""
    return min(DELAY_MAX, 0.1 * 2 ** min(tries, 10)) * random.uniform(0.5, 1)  # noqa: S311
