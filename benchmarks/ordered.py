"""`python -m benchmarks.ordered`: what it costs to see the facts of each key in their order."""

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import asyncpg
import nats.errors
import typer
from shop.orders.v1.orders_facts_pb2 import OrderCreated

from benchmarks.comparison import Spread
from benchmarks.listener import SCHEMA, group
from benchmarks.worker import working
from cli.output import console, progress, table
from cli.running import run
from mesh import contract
from mesh.cloudevents import Event, announce
from mesh.events import durable
from mesh.events.bus import Bus
from mesh.events.durable import Durable
from mesh.events.streams import provision
from tests.foundations import Foundations, running

PARTITIONS = (0, 1, 4, 8, 16)
"""What is compared; 0 is a plain durable, which keeps no order."""
REPLICAS = 3
PUBLISHERS = 50
"""Keys whose facts are published at the same time; of each key one after the other."""
READY_SECONDS = 30.0
LOOK_SECONDS = 0.02

RATE = "SELECT count(*), extract(epoch FROM max(at) - min(at))::float8 FROM seen"
INVERSIONS = """
SELECT count(*) FROM (
    SELECT announced_at < max(announced_at) OVER (PARTITION BY key ORDER BY place) AS is_late FROM seen
) AS fact WHERE is_late
"""


@dataclass(frozen=True)
class Seen:
    """One way, once."""

    rate: float
    """Facts a second, from the first that was handled to the last."""
    late: float
    """Share of the facts that were handled after a later one of their key."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    keys: Annotated[int, typer.Option(min=1, help="Stories told at the same time.")] = 100,
    length: Annotated[int, typer.Option(min=2, help="Facts of each.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured.")] = 3,
    work: Annotated[float, typer.Option(min=0.0, help="Milliseconds of other work in each reaction.")] = 0.0,
) -> None:
    """Measure a plain durable against ordered ones, with three replicas each, on a broker and a database of its own."""
    run(_measured(keys, length, rounds, work / 1000))


async def _measured(keys: int, length: int, rounds: int, seconds: float) -> None:
    seen: dict[int, list[Seen]] = {partitions: [] for partitions in PARTITIONS}
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as foundations, Bus.open(foundations.nats_url, "benchmark") as bus:
            await bus.connected.wait()
            for number in range(rounds):
                for partitions in PARTITIONS:
                    progress.print(f"round {number + 1}: {_name(partitions)} ...")
                    seen[partitions].append(await _round(foundations, bus, partitions, _stories(keys, length), seconds))
    _show(seen)


async def _round(
    foundations: Foundations, bus: Bus, partitions: int, stories: list[list[Event]], seconds: float
) -> Seen:
    name, url = f"bench-{uuid.uuid4().hex[:8]}", await foundations.database()
    given = {"nats": foundations.nats_url, "database": url, "name": name, "partitions": partitions, "seconds": seconds}
    async with _streams(bus, name, partitions) as durables, _connected(url) as database, _listeners(given):
        await _pulled(bus, durables)
        await _publish(bus, stories)
        return await _handled(database, sum(map(len, stories)))


@asynccontextmanager
async def _streams(bus: Bus, name: str, partitions: int) -> AsyncGenerator[list[Durable]]:
    """The facts' stream, empty, and the group's, if there is a group; and what will be pulled."""
    streams, fact = bus.client.jetstream(), contract.fact(OrderCreated)
    await streams.purge_stream(fact.stream)
    if not partitions:
        yield [durable.of_fact(name, fact)]
        return
    ordered = group(name, partitions)
    await provision(streams, [ordered.stream], replicas=1)
    yield ordered.durables()
    await streams.delete_stream(ordered.stream.name)


@asynccontextmanager
async def _listeners(given: Mapping[str, object]) -> AsyncGenerator[None]:
    async with AsyncExitStack() as stack:
        starting = [stack.enter_async_context(working("benchmarks.listener", given)) for _ in range(REPLICAS)]
        for worker in await asyncio.gather(*starting):
            await worker.ask({}, READY_SECONDS)
        yield


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SCHEMA)
        yield connection
    finally:
        await connection.close()


async def _pulled(bus: Bus, durables: list[Durable]) -> None:
    """Returns once every replica pulls every durable."""
    async with asyncio.timeout(READY_SECONDS):
        for each in durables:
            while await _pullers(bus, each) < REPLICAS:
                await asyncio.sleep(LOOK_SECONDS)


async def _pullers(bus: Bus, each: Durable) -> int:
    try:
        return (await bus.client.jetstream().consumer_info(each.stream, each.name)).num_waiting or 0
    except nats.errors.Error:  # nobody has declared it yet
        return 0


def _stories(keys: int, length: int) -> list[list[Event]]:
    def story(key: str) -> list[Event]:
        return [announce(OrderCreated(order_id=key), "benchmark", str(number)) for number in range(length)]

    return [story(str(uuid.uuid4())) for _ in range(keys)]


async def _publish(bus: Bus, stories: list[list[Event]]) -> None:
    room = asyncio.Semaphore(PUBLISHERS)

    async def tell(story: list[Event]) -> None:
        async with room:
            for event in story:
                await bus.publish(event.stream, event.subject, event.payload, event.headers)

    await asyncio.gather(*(tell(story) for story in stories))


async def _handled(database: asyncpg.Connection, wanted: int) -> Seen:
    """What was seen once so many facts have been handled."""
    began = time.monotonic()
    while True:
        (row,) = await database.fetch(RATE)
        count, seconds = row
        if count == wanted:
            return Seen(rate=wanted / seconds, late=await database.fetchval(INVERSIONS) / wanted)
        if time.monotonic() - began > 10 * READY_SECONDS:
            raise TimeoutError(f"{count} of {wanted} facts were handled")
        await asyncio.sleep(LOOK_SECONDS)


def _show(seen: dict[int, list[Seen]]) -> None:
    shown = table("3 replicas", "by a plain durable>", "facts /s>", "out of order>")
    for partitions, rounds in seen.items():
        ratio = Spread.of(one.rate / plain.rate for one, plain in zip(rounds, seen[0], strict=True))
        rate, late = Spread.of(one.rate for one in rounds), Spread.of(one.late for one in rounds)
        shown.add_row(
            _name(partitions),
            f"{ratio.median:.2f} ({ratio.least:.2f} to {ratio.most:.2f})",
            f"{rate.median:.0f} ({rate.least:.0f} to {rate.most:.0f})",
            f"{late.median:.1%}",
        )
    console.print(shown)


def _name(partitions: int) -> str:
    return f"ordered, {partitions} at a time" if partitions else "plain durable"


if __name__ == "__main__":
    app()
