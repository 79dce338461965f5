"""The relay: sends what is in the outbox to the bus, in order per key, until the bus has stored it.

At most one fact per key is in flight, so a failed publish never lets a later fact of the same story overtake it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import asyncpg
import structlog

from mesh.background import ended
from mesh.bus import Bus
from mesh.database import Connection, Database
from mesh.errors import Outage

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.outbox")

POLL = 0.5
"""Seconds after which the outbox is read although nobody woke the relay: another replica may have written."""
BATCH = 200
LOCK = 2
"""Advisory lock of the one active relay of a database; it goes with its connection, so a takeover needs no clock."""

UNSENT = "SELECT id, key, stream, subject, headers, payload FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT $1"


@asynccontextmanager
async def relayed(database: Database, bus: Bus) -> AsyncGenerator[None]:
    """Relay while open. What is not sent by then stays in the outbox, for whoever relays next."""
    relaying = asyncio.ensure_future(_relay(database, bus))
    try:
        yield
    finally:
        await ended(relaying)


async def _relay(database: Database, bus: Bus) -> None:
    await bus.connected.wait()
    while True:
        try:
            async with database.connection() as connection:
                if await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                    try:
                        await _send_for_ever(connection, database.announced, bus)
                    finally:
                        connection.terminate()  # and with it the lock
            await asyncio.sleep(POLL)  # another replica relays
        except Outage as outage:
            log.warning("relay_waits", error=str(outage))
            await asyncio.sleep(POLL)
        except Exception:  # whatever it is: without the relay every story would end here
            log.exception("relay_failed")
            await asyncio.sleep(POLL)


async def _send_for_ever(connection: Connection, announced: asyncio.Event, bus: Bus) -> None:
    # Everything is read and marked through the connection that holds the lock: losing one is losing both.
    while True:
        announced.clear()
        rows = await connection.fetch(UNSENT, BATCH)
        if rows:
            await _send(connection, rows, bus)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(announced.wait(), POLL)


async def _send(connection: Connection, rows: list[asyncpg.Record], bus: Bus) -> None:
    """Send each key's facts in turn, the keys side by side, and mark what the bus has stored."""
    stories: dict[str, list[asyncpg.Record]] = {}
    for row in rows:
        stories.setdefault(row["key"], []).append(row)
    sent: list[int] = []
    outages = await asyncio.gather(*(_send_story(story, bus, sent) for story in stories.values()))
    await connection.execute("UPDATE outbox SET sent_at = now() WHERE id = ANY($1)", sent)
    for outage in outages:
        if outage is not None:
            raise outage


async def _send_story(story: list[asyncpg.Record], bus: Bus, sent: list[int]) -> Outage | None:
    for row in story:
        try:
            await bus.publish(row["stream"], row["subject"], row["payload"], row["headers"])
        except Outage as outage:
            return outage
        sent.append(row["id"])
    return None
