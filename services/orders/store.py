"""The tables of the Order service."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from shop.orders.v1.order_pb2 import CancelReason

from mesh.postgres import lockstep
from mesh.postgres.lockstep import Session
from mesh.telemetry import tracing
from mesh.telemetry.metrics import STORY_BUCKETS, timed
from services.orders.core import Line, Order, Reason, Shipped, State

ORDER = "SELECT * FROM orders WHERE order_id = $1 FOR UPDATE"
EARLIEST = """
ON CONFLICT (order_id, event) DO UPDATE SET at = excluded.at, source = excluded.source, detail = excluded.detail
WHERE excluded.at < timeline.at
    OR excluded.at = timeline.at AND (excluded.source, excluded.detail) <> (timeline.source, timeline.detail)
"""
"""Of a fact that is announced twice the earlier counts, in whatever order they are learned."""
TELL = f"""
WITH told AS (
    INSERT INTO timeline (order_id, at, source, event, detail)
    SELECT $1, * FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[])
    {EARLIEST}
)
"""
INSERT = f"""
{TELL}
INSERT INTO orders (order_id, state, reason, learned, tracking, currency, total_minor,
                    choreographed, customer_id, skus, quantities, trace, due_at)
VALUES ($1, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, CASE WHEN $12 THEN now() + $17::interval END)
"""
"""Fails where somebody else has just made the order, or its tombstone: it must not be overwritten unseen."""
UPDATE = f"""
{TELL}
UPDATE orders
SET due_at = CASE WHEN state <> $6 THEN now() + $12::interval ELSE due_at END,
    state = $6, reason = $7, learned = $8, tracking = $9, currency = $10, total_minor = $11, updated_at = now()
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
SELECT order_id FROM orders WHERE state = 'PENDING' AND due_at < now()
ORDER BY due_at LIMIT 50 FOR UPDATE SKIP LOCKED
"""
NOT_UNDONE = """
UPDATE orders SET due_at = now() + $1::interval WHERE order_id = ANY (ARRAY(
    SELECT order_id FROM orders WHERE state = 'CANCELLING' AND due_at < now()
    ORDER BY due_at LIMIT 50 FOR UPDATE SKIP LOCKED
))
RETURNING *
"""
"""Each is found once in the interval, whoever looks."""
OPEN = """
SELECT 'PENDING' AS state, count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_s
FROM orders WHERE state = 'PENDING' AND due_at IS NOT NULL
UNION ALL
SELECT 'CANCELLING', count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8
FROM orders WHERE state = 'CANCELLING'
"""
"""Only choreographed orders are ever due, or CANCELLING."""
COMPLETED = """
SELECT currency, (sum(total_minor) FILTER (WHERE number = 1))::float8 AS money, sum(quantity)::float8 AS pieces
FROM orders, unnest(quantities) WITH ORDINALITY AS line (quantity, number)
WHERE state = 'COMPLETED' GROUP BY currency
"""
"""A total is that of all lines, and counted with the first."""
TELL_AGAIN = f"""
WITH held AS (
    SELECT order_id FROM orders WHERE choreographed AND order_id = ANY($1) ORDER BY order_id FOR UPDATE
), written AS (
    INSERT INTO timeline (order_id, at, source, event, detail)
    SELECT told.* FROM held JOIN unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[])
        AS told (order_id, at, source, event, detail) USING (order_id)
    {EARLIEST}
    RETURNING true
)
SELECT count(*) FROM written
"""
"""The orders are held, in one sequence, for else this and the learning of new facts might wait for each other."""

PATIENCE = timedelta(minutes=1)
"""How long an undoing may take before it is reported, and between two reports."""
DURATION = timed("shop.order.duration", "From an order's making until its outcome was decided.", STORY_BUCKETS)
OWN = "orders"
"""The source of what this service itself adds to a timeline."""


@dataclass(frozen=True)
class Entry:
    """One thing that happened to an order."""

    at: datetime
    source: str
    event: str
    detail: str


def entry(fact: Any, at: datetime) -> Entry:
    """What a timeline says of a fact that was announced then."""
    package, name = fact.DESCRIPTOR.file.package, fact.DESCRIPTOR.name
    return Entry(at, source=package.split(".")[1], event=name, detail=_detail(fact))


def own(event: str, detail: str = "") -> Entry:
    """What this service did just now, at the word of a saga."""
    return Entry(datetime.now(UTC), OWN, event, detail)


@dataclass(frozen=True)
class Story:
    """An order with when it began, when it last changed, and its timeline."""

    order: Order
    created_at: datetime
    updated_at: datetime
    timeline: tuple[Entry, ...]


@dataclass(frozen=True)
class Open:
    """How many choreographed orders are in a state that is not final, and how old the oldest is."""

    state: State
    count: int
    oldest_s: float
    """Seconds since it was made; 0 if there is none."""


@dataclass(frozen=True)
class Completed:
    """What the completed orders of one currency come to, in its smallest unit, and how many pieces they hold."""

    currency: str
    money: float
    pieces: float


class PostgresBook:
    """The book of `core`, within one transaction."""

    def __init__(self, connection: Session, fulfilment_seconds: float = 0) -> None:
        """A new choreographed order is given `fulfilment_seconds` before the watchdog asks for a cancel."""
        self._connection = connection
        self._fulfilment = timedelta(seconds=fulfilment_seconds)
        self._is_new = False
        self._order: Order | None = None
        self._entries: list[Entry] = []
        self._was_final = False
        self._began = datetime.now(UTC)
        self.trace: dict[str, str] = {}
        """Headers of the trace that the order was made in."""

    async def order(self, order_id: str) -> Order | None:
        row = await lockstep.find(self._connection, ORDER, order_id)
        self._is_new = row is None
        if row is None:
            return None
        self.trace = row["trace"]
        self._began = row["created_at"]
        order = _order(row)
        self._was_final = order.is_final
        return order

    def save(self, order: Order) -> None:
        self._order = order

    def record(self, entry: Entry) -> None:
        """Add to the timeline of the order that is saved."""
        self._entries.append(entry)

    def count(self) -> None:
        """Tell the metrics of an order that has ended: after the commit."""
        order = self._order
        if order is None or self._was_final or not order.is_final:
            return
        outcome = {
            "shop.mode": "choreographed" if order.choreographed else "orchestrated",
            "shop.order.state": order.state.value,
            "shop.order.reason": order.reason.value if order.reason else "NONE",
        }
        DURATION.record(max((datetime.now(UTC) - self._began).total_seconds(), 0), outcome)

    async def write(self) -> None:
        """Store what was saved and recorded, in one statement."""
        if self._order is None:
            return
        changing = (self._order.order_id, *_columns(self._entries), *_changing(self._order))
        if self._is_new:
            lasting = (*_lasting(self._order), tracing.inject(), self._fulfilment)
            await self._connection.execute(INSERT, *changing, *lasting)
        else:
            await self._connection.execute(UPDATE, *changing, PATIENCE)


async def story(connection: Session, order_id: str) -> Story | None:
    """An order with its timeline, as it is now."""
    row = await connection.fetchrow(STORY, order_id)
    return None if row is None else _story(row, row["timeline"] or ())


async def tell_again(connection: Session, told: Mapping[tuple[str, str], Entry]) -> int:
    """Put entries, by order and event, on the timelines of choreographed orders. Returns how many this changed."""
    order_ids = [order_id for order_id, _ in told]
    return await connection.fetchval(TELL_AGAIN, order_ids, *_columns(told.values()))


async def page(connection: Session, state: State | None, after: str | None, size: int) -> list[Story]:
    """Orders, newest first, without their timelines."""
    return [_story(row, ()) for row in await connection.fetch(PAGE, state.value if state else None, after, size)]


async def overdue(connection: Session) -> list[str]:
    """Some pending orders that are past their time, held until the transaction ends; replicas get different ones."""
    return [str(row["order_id"]) for row in await connection.fetch(DUE)]


async def not_undone(connection: Session) -> list[Order]:
    """Some orders whose undoing takes too long; each again only after PATIENCE."""
    return [_order(row) for row in await connection.fetch(NOT_UNDONE, PATIENCE)]


async def open_orders(connection: Session) -> list[Open]:
    """The choreographed orders whose outcome is not decided yet, state by state."""
    return [Open(State(row["state"]), row["count"], row["oldest_s"]) for row in await connection.fetch(OPEN)]


async def completed(connection: Session) -> list[Completed]:
    """What all completed orders come to, by currency. Reads them all."""
    return [Completed(row["currency"], row["money"], row["pieces"]) for row in await connection.fetch(COMPLETED)]


def _detail(fact: Any) -> str:
    """What a person would want to know besides: a tracking code, a refusal, the reason of a cancel."""
    fields = fact.DESCRIPTOR.fields_by_name
    if "tracking" in fields:
        return fact.tracking
    if "refusal" in fields:
        return f"{fact.refusal.reason}: {fact.refusal.message}"
    if "reason" in fields:
        known = CancelReason.DESCRIPTOR.values_by_number.get(fact.reason)
        return known.name.removeprefix("CANCEL_REASON_") if known else str(fact.reason)  # a newer replica's
    return ""


def _columns(entries: Collection[Entry]) -> list[list[Any]]:
    return [[getattr(entry, column) for entry in entries] for column in ("at", "source", "event", "detail")]


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
