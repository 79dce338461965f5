"""A group of ordered reactions whose effect is a row per fact, in the order in which they were handled.

`python -m tests.ordering NATS DATABASE GROUP PARTITIONS SEED` is a replica with troubles, to be killed.
"""

import asyncio
import random
import sys
import uuid
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCreated

from mesh import contract
from mesh.cloudevents import Event, announce
from mesh.errors import Outage
from mesh.events import dead_letters
from mesh.events.bus import Bus
from mesh.events.dead_letters import Letter, Which
from mesh.events.ordered import Ordered, in_order
from mesh.events.reaction import Reaction
from mesh.events.streams import KIT, Stream, provision
from mesh.postgres.database import Database, Once, Transaction
from tests.broker import Broker
from tests.tables import tables

FACTS = contract.fact(OrderCreated)
GROUP = "test-ledger"
PARTITIONS = 4
TABLES = tables("CREATE TABLE seen (place bigint GENERATED ALWAYS AS IDENTITY, key text, event_id text)")
KINDS = (OrderCreated, OrderCancelled)


class Ledger:
    """Reacts by a row, and fails as often as told."""

    def __init__(self) -> None:
        self.failures: dict[str, list[Exception]] = {}
        """By event id."""

    async def react(self, fact: OrderCreated | OrderCancelled, once: Once) -> None:
        if failures := self.failures.get(once.event_id):
            raise failures.pop()

        async def work(tx: Transaction) -> None:
            await tx.connection.execute(
                "INSERT INTO seen (key, event_id) VALUES ($1, $2)", fact.order_id, once.event_id
            )

        await once(work)

    def group(self, name: str, partitions: int) -> Ordered:
        return Ordered(name, tuple(Reaction(kind, self.react) for kind in KINDS), partitions)


class TroubledLedger(Ledger):
    """Is slow, has outages and bugs, by chance."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = random.Random(seed)  # noqa: S311 - it is to be foreseen

    async def react(self, fact: OrderCreated | OrderCancelled, once: Once) -> None:
        await asyncio.sleep(self._chance.uniform(0, 0.01))
        await super().react(fact, once)
        draw = self._chance.random()  # after the commit, so that what was handled comes again
        if draw < 0.05:
            raise Outage("by chance")
        if draw < 0.07:
            raise ValueError("by chance")


def story(key: str, length: int) -> list[Event]:
    """Facts of one key, of several kinds, in their order."""
    return [announce(KINDS[number % 2](order_id=key), "test", str(number)) for number in range(length)]


async def seen(database: Database) -> dict[str, list[str]]:
    """The events that were handled, by key, in the order in which they were."""
    found: dict[str, list[str]] = {}
    for row in await database.pool.fetch("SELECT key, event_id FROM seen ORDER BY place"):
        found.setdefault(row["key"], []).append(row["event_id"])
    return found


@asynccontextmanager
async def replica(nats_url: str, database_url: str, group: Ordered) -> AsyncGenerator[None]:
    """A replica with connections of its own."""
    async with (
        Database.open(database_url, "test", TABLES) as database,
        Bus.open(nats_url, "test") as bus,
        in_order(group, database, bus),
    ):
        yield


async def killed(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


def by_key(events: tuple[Event, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in events:
        found.setdefault(event.key, []).append(event.headers["ce-id"])
    return found


class World:
    """A broker with the streams, a database, and as many replicas of the group as are asked for."""

    def __init__(self, broker: Broker, bus: Bus, database_url: str, database: Database, stack: AsyncExitStack) -> None:
        self.bus = bus
        self.database = database
        self.ledger = Ledger()
        self._broker = broker
        self._database_url = database_url
        self._stack = stack

    async def provision(self, partitions: int = PARTITIONS) -> None:
        streams = [Stream(FACTS.stream, (FACTS.stream_subjects,)), *KIT, self.ledger.group(GROUP, partitions).stream]
        await provision(self.bus.client.jetstream(), streams, replicas=1)

    async def listen(self, partitions: int = PARTITIONS) -> None:
        group = self.ledger.group(GROUP, partitions)
        await self._stack.enter_async_context(replica(self._broker.url, self._database_url, group))

    async def process(self, seed: int, partitions: int = PARTITIONS) -> Process:
        """A replica with troubles, in a process of its own."""
        arguments = (self._broker.url, self._database_url, GROUP, str(partitions), str(seed))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.ordering", *arguments, stdout=DEVNULL, stderr=DEVNULL
        )
        self._stack.push_async_callback(killed, process)
        return process

    async def publish(self, *events: Event) -> None:
        for event in events:
            await self.bus.publish(event.stream, event.subject, event.payload, event.headers)

    async def publish_again(self, *events: Event) -> None:
        """As new messages, but the same events."""
        for event in events:
            headers = {**event.headers, "Nats-Msg-Id": uuid.uuid4().hex}
            await self.bus.publish(event.stream, event.subject, event.payload, headers)

    def has_handled(self, *events: Event) -> Callable[[], Awaitable[bool]]:
        """Whether these were handled, of each key in this order, each once and no others."""

        async def condition() -> bool:
            handled = await seen(self.database)
            return all(handled.get(key, []) == wanted for key, wanted in by_key(events).items())

        return condition

    async def letters(self, key: str) -> list[Letter]:
        return [letter async for letter in dead_letters.letters(self.bus, Which(durable=GROUP, key=key))]

    def has_letters(self, key: str, count: int) -> Callable[[], Awaitable[bool]]:
        async def condition() -> bool:
            return len(await self.letters(key)) == count

        return condition

    async def parked(self) -> list[str]:
        """The keys, once for each fact that is passed over."""
        return [row["key"] for row in await self.database.pool.fetch("SELECT key FROM parked ORDER BY place")]

    async def is_released(self) -> bool:
        return not await self.parked()


async def _main(nats_url: str, database_url: str, name: str, partitions: str, seed: str) -> None:
    async with replica(nats_url, database_url, TroubledLedger(int(seed)).group(name, int(partitions))):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
