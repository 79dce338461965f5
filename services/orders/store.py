"""The tables of the Order service."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from mesh import telemetry
from mesh.database import Connection
from services.orders.core import Line, Order, Reason, Shipped, State

ORDER = "SELECT * FROM orders WHERE order_id = $1"
INSERT = """
WITH told AS (
    INSERT INTO timeline (order_id, source, event, detail, at)
    SELECT $1, source, event, detail, coalesce(at, clock_timestamp())
    FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[]) AS told (source, event, detail, at)
    ON CONFLICT DO NOTHING
)
INSERT INTO orders (order_id, state, reason, learned, tracking, currency, total_minor,
                    choreographed, customer_id, skus, quantities, trace, due_at)
VALUES ($1, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, CASE WHEN $12 THEN now() + $17::interval END)
"""
"""Fails where somebody else has just made the order, or its tombstone: it must not be overwritten unseen."""
UPDATE = """
WITH told AS (
    INSERT INTO timeline (order_id, source, event, detail, at)
    SELECT $1, source, event, detail, coalesce(at, clock_timestamp())
    FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[]) AS told (source, event, detail, at)
    ON CONFLICT DO NOTHING
)
UPDATE orders
SET state = $6, reason = $7, learned = $8, tracking = $9, currency = $10, total_minor = $11, updated_at = now()
WHERE order_id = $1
"""
STORY = """
SELECT orders.*, (
    SELECT array_agg((at, source, event, detail) ORDER BY at, id) FROM timeline WHERE order_id = $1
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
        self._is_new = False
        self._order: Order | None = None
        self._entries: list[tuple[str, str, str, datetime | None]] = []

    async def order(self, order_id: str) -> Order | None:
        row = await self._connection.fetchrow(f"{ORDER} FOR UPDATE", order_id)
        self._is_new = row is None
        return None if row is None else _order(row)

    def save(self, order: Order) -> None:
        self._order = order

    def record(self, event: str, detail: str = "", source: str = OWN, at: datetime | None = None) -> None:
        """Add to the timeline of the order that is saved; what is on it already stays as it is. `at`: now if unset."""
        self._entries.append((source, event, detail, at))

    async def write(self) -> None:
        """Store what was saved and recorded, in one statement."""
        if self._order is None:
            return
        entries = [[entry[column] for entry in self._entries] for column in range(4)]
        changing = (self._order.order_id, *entries, *_changing(self._order))
        if self._is_new:
            lasting = (*_lasting(self._order), telemetry.inject(), self._fulfilment)
            await self._connection.execute(INSERT, *changing, *lasting)
        else:
            await self._connection.execute(UPDATE, *changing)


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


def _changing(order: Order) -> tuple[object, ...]:
    shipped = order.shipped
    return (
        order.state.value,
        order.reason.value if order.reason else None,
        sorted(order.learned),
        shipped.tracking if shipped else None,
        shipped.currency if shipped else None,
        shipped.total_minor if shipped else None,
    )


def _lasting(order: Order) -> tuple[object, ...]:
    skus, quantities = [line.sku for line in order.lines], [line.quantity for line in order.lines]
    return order.choreographed, order.customer_id, skus, quantities


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
