"""The tables of the Order service."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from mesh import telemetry
from mesh.database import Connection
from services.orders.core import Line, Order, Reason, Shipped, State

ORDER = "SELECT * FROM orders WHERE order_id = $1"
WRITE = """
WITH saved AS (
    INSERT INTO orders (order_id, choreographed, customer_id, skus, quantities, state, reason, learned,
                        tracking, currency, total_minor, trace, due_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, CASE WHEN $2 THEN now() + $13::interval END)
    ON CONFLICT (order_id) DO UPDATE
    SET state = excluded.state, reason = excluded.reason, learned = excluded.learned, tracking = excluded.tracking,
        currency = excluded.currency, total_minor = excluded.total_minor, updated_at = now()
)
INSERT INTO timeline (order_id, source, event, detail)
SELECT $1, * FROM unnest($14::text[], $15::text[], $16::text[])
ON CONFLICT DO NOTHING
"""
STORY = """
SELECT orders.*, (
    SELECT array_agg((at, source, event, detail) ORDER BY id) FROM timeline WHERE timeline.order_id = orders.order_id
) AS timeline
FROM orders WHERE order_id = $1
"""
PAGE = """
SELECT * FROM orders
WHERE ($1::text IS NULL OR state = $1) AND ($2::uuid IS NULL OR order_id < $2)
ORDER BY order_id DESC LIMIT $3
"""
DUE = """
SELECT order_id, trace FROM orders WHERE state = 'PENDING' AND due_at < now()
ORDER BY due_at LIMIT 50 FOR UPDATE SKIP LOCKED
"""


OWN = "orders"
"""The source of what this service itself adds to a timeline."""


@dataclass(frozen=True)
class Entry:
    """One thing that happened to an order."""

    at: datetime
    source: str
    event: str
    detail: str


@dataclass(frozen=True)
class Story:
    """An order with when it began, when it last changed, and its timeline."""

    order: Order
    created_at: datetime
    updated_at: datetime
    timeline: tuple[Entry, ...]


class PostgresBook:
    """The book of `core`, within one transaction."""

    def __init__(self, connection: Connection, fulfilment_seconds: float = 0) -> None:
        """A new choreographed order is given `fulfilment_seconds` before the watchdog asks for a cancel."""
        self._connection = connection
        self._fulfilment = timedelta(seconds=fulfilment_seconds)
        self._order: Order | None = None
        self._entries: list[tuple[str, str, str]] = []

    async def order(self, order_id: str) -> Order | None:
        row = await self._connection.fetchrow(f"{ORDER} FOR UPDATE", order_id)
        return None if row is None else _order(row)

    def save(self, order: Order) -> None:
        self._order = order

    def record(self, event: str, detail: str = "", source: str = OWN) -> None:
        """Add to the timeline of the order that is saved; what is on it already stays as it is."""
        self._entries.append((source, event, detail))

    async def write(self) -> None:
        """Store what was saved and recorded, in one statement."""
        if self._order is not None:
            entries = [[entry[column] for entry in self._entries] for column in range(3)]
            await self._connection.execute(WRITE, *_values(self._order), telemetry.inject(), self._fulfilment, *entries)


async def story(connection: Connection, order_id: str) -> Story | None:
    """An order with its timeline, as it is now."""
    row = await connection.fetchrow(STORY, order_id)
    return None if row is None else _story(row, row["timeline"] or ())


async def page(connection: Connection, state: State | None, after: str | None, size: int) -> list[Story]:
    """Orders, newest first, without their timelines."""
    return [_story(row, ()) for row in await connection.fetch(PAGE, state.value if state else None, after, size)]


async def overdue(connection: Connection) -> list[tuple[str, dict[str, str]]]:
    """Some pending orders that are past their time, with the headers of their traces.

    Held until the transaction ends; replicas get different ones.
    """
    return [(str(row["order_id"]), row["trace"]) for row in await connection.fetch(DUE)]


def _story(row: asyncpg.Record, timeline: Sequence[tuple[datetime, str, str, str]]) -> Story:
    return Story(_order(row), row["created_at"], row["updated_at"], tuple(Entry(*entry) for entry in timeline))


def _values(order: Order) -> tuple[object, ...]:
    shipped = order.shipped
    return (
        order.order_id,
        order.choreographed,
        order.customer_id,
        [line.sku for line in order.lines],
        [line.quantity for line in order.lines],
        order.state.value,
        order.reason.value if order.reason else None,
        sorted(order.learned),
        shipped.tracking if shipped else None,
        shipped.currency if shipped else None,
        shipped.total_minor if shipped else None,
    )


def _order(row: asyncpg.Record) -> Order:
    lines = zip(row["skus"], row["quantities"], strict=True)
    shipped = None
    if row["currency"] is not None:
        shipped = Shipped(row["tracking"], row["currency"], row["total_minor"])
    return Order(
        order_id=str(row["order_id"]),
        choreographed=row["choreographed"],
        customer_id=row["customer_id"],
        lines=tuple(Line(sku, quantity) for sku, quantity in lines),
        state=State(row["state"]),
        reason=Reason(row["reason"]) if row["reason"] else None,
        learned=frozenset(row["learned"]),
        shipped=shipped,
    )
