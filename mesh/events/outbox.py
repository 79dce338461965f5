"""The relay: sends what is in the outbox to the bus, in order per key, until the bus has stored it.

At most one fact per key is in flight, so a failed publish never lets a later fact of the same story overtake it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any

import asyncpg
import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from mesh.background import ended
from mesh.cloudevents import described
from mesh.errors import Outage
from mesh.events.bus import Bus
from mesh.postgres.database import Database
from mesh.postgres.lockstep import Connection
from mesh.telemetry import metrics, tracing

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.events.outbox")
tracer = trace.get_tracer("ensemble.mesh")

POLL = 0.5
"""Seconds after which the outbox is read although nobody woke the relay: another replica may have written."""
BATCH = 200
STUCK_SECONDS = 5.0
"""After which a story whose facts the bus did not take, while it took others, is tried again."""
STUCK_MAX = 1000
"""Stuck stories that are passed over; if there are more, the bus itself is in trouble."""
FROZEN_SECONDS = 15
"""Silence after which the database ends the session of a relay, and with it its lock."""
LOCK = 2
"""Advisory lock of the one active relay of a database; it goes with its connection."""

UNSENT = """
WITH sent AS (UPDATE outbox SET sent_at = now() WHERE id = ANY ($1))
SELECT id, key, stream, subject, headers, payload FROM outbox
WHERE sent_at IS NULL AND id <> ALL ($1) AND key <> ALL ($2) ORDER BY id LIMIT $3
"""
"""Marks what was sent last, and reads what is next, in one round trip. What is never marked is sent again."""
SENT = "UPDATE outbox SET sent_at = now() WHERE id = ANY ($1)"


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
                        with suppress(asyncpg.InterfaceError):  # gone already
                            connection.terminate()  # and with it the lock
            await asyncio.sleep(POLL)  # another replica relays
        except Outage as outage:
            log.warning("relay_waits", error=str(outage))
            await asyncio.sleep(POLL)
        except Exception:  # whatever it is: without the relay every story would end here
            log.exception("relay_failed")
            await asyncio.sleep(POLL)


async def _send_for_ever(connection: Connection, announced: asyncio.Event, bus: Bus) -> None:
    # Everything is read and marked through the connection that holds the lock: losing one is losing both. A holder that
    # is frozen, or cut off, loses it too.
    await connection.execute(f"SET idle_session_timeout = '{FROZEN_SECONDS}s'")
    sent: list[int] = []
    stuck: dict[str, float] = {}
    """Keys whose facts the bus does not take, and when to try them again: the others need not wait for them."""
    try:
        while True:
            announced.clear()
            now = asyncio.get_running_loop().time()
            stuck = {key: until for key, until in stuck.items() if until > now}
            rows = await connection.fetch(UNSENT, sent, list(stuck), BATCH)
            sent = []
            if rows:
                stuck |= dict.fromkeys(await _send(rows, bus, sent), now + STUCK_SECONDS)
                if stuck and (len(stuck) > STUCK_MAX or not await bus.answers()):
                    raise Outage("the bus takes nothing, or next to nothing")
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(announced.wait(), POLL)
    finally:
        if sent:
            await connection.execute(SENT, sent)


async def _send(rows: list[asyncpg.Record], bus: Bus, sent: list[int]) -> list[str]:
    """Send each key's facts in turn, the keys side by side, and note what the bus has stored.

    Returns the keys that are stuck.
    """
    stories: dict[str, list[asyncpg.Record]] = {}
    for row in rows:
        stories.setdefault(row["key"], []).append(row)
    outages = await asyncio.gather(*(_send_story(story, bus, sent) for story in stories.values()))
    failed = {key: outage for key, outage in zip(stories, outages, strict=True) if outage is not None}
    for key, outage in failed.items():
        log.warning("story_stuck", key=key, error=str(outage))
    return list(failed)


async def _send_story(story: list[asyncpg.Record], bus: Bus, sent: list[int]) -> Outage | None:
    for row in story:
        started = time.perf_counter()
        try:
            with _traced(row):
                await bus.publish(row["stream"], row["subject"], row["payload"], row["headers"])
        except Outage as outage:
            metrics.sent([row["subject"]], time.perf_counter() - started, outage)
            return outage
        metrics.sent([row["subject"]], time.perf_counter() - started)
        sent.append(row["id"])
    return None


def _traced(row: asyncpg.Record) -> AbstractContextManager[Any]:
    """A span in the trace of the fact, if that is recorded: from its end on the broker has the fact."""
    headers: dict[str, str] = row["headers"]
    if not tracing.is_sampled(headers):
        return nullcontext()
    template = f"{row['subject'].rpartition('.')[0]}.*"
    return tracer.start_as_current_span(
        f"send {template}",
        tracing.extract(headers),
        SpanKind.CLIENT,
        described("send", template, headers["Nats-Msg-Id"], row["key"], row["payload"]),
    )
