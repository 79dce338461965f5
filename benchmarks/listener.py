"""`python -m benchmarks.listener`: a worker that is a replica of a service with one reaction, ordered or not."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import structlog
from shop.orders.v1.orders_facts_pb2 import OrderCreated

from benchmarks import worker
from mesh.events.bus import Bus
from mesh.events.consumer import Reaction, consuming
from mesh.events.ordered import Ordered, in_order
from mesh.postgres.database import Database, Once, Transaction
from mesh.telemetry import logs

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    place bigint GENERATED ALWAYS AS IDENTITY, key text, announced_at timestamptz, at timestamptz DEFAULT now()
)
"""
"""What the reaction writes: which fact of which key, in the order of handling."""


class Listener:
    """Writes a row per fact, after so many seconds of other work."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def react(self, fact: OrderCreated, once: Once) -> None:
        """Handle one fact."""

        async def work(tx: Transaction) -> None:
            await tx.connection.execute(
                "INSERT INTO seen (key, announced_at) VALUES ($1, $2)", fact.order_id, once.announced_at
            )

        if self._seconds:
            await asyncio.sleep(self._seconds)
        await once(work)


def group(name: str, partitions: int, seconds: float = 0.0) -> Ordered:
    """The reaction as a group of its own."""
    return Ordered(name, (Reaction(OrderCreated, Listener(seconds).react),), partitions)


async def start(given: Any, stack: AsyncExitStack) -> worker.Answer:
    """It is given the URLs `nats` and `database`, a `name`, `partitions` (0 for no order), and `seconds` of work."""
    logs.configure("INFO", "json")
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # a line is made per fact, but not written
    database = await stack.enter_async_context(Database.open(given["database"], "benchmark"))
    bus = await stack.enter_async_context(Bus.open(given["nats"], "benchmark"))
    if given["partitions"]:
        ordered = group(given["name"], given["partitions"], given["seconds"])
        await stack.enter_async_context(in_order(ordered, database, bus))
    else:
        reaction = Reaction(OrderCreated, Listener(given["seconds"]).react)
        await stack.enter_async_context(consuming(given["name"], [reaction], database, bus))

    async def answer(_question: Any) -> bool:
        return True

    return answer


if __name__ == "__main__":
    worker.run(start)
