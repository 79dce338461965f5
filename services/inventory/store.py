"""Inventory's tables."""

from collections.abc import Mapping, Sequence

import asyncpg

from mesh.postgres.lockstep import Session
from services.inventory.core import Line, Reservation, State, StockItem

RESERVATION = "SELECT * FROM reservation WHERE reservation_id = $1 FOR UPDATE"
STOCK = "SELECT * FROM stock WHERE sku = ANY($1) ORDER BY sku FOR UPDATE"
TAKE = """
WITH taken AS (
    UPDATE stock SET available = available - line.quantity
    FROM unnest($4::text[], $5::bigint[]) AS line (sku, quantity) WHERE stock.sku = line.sku
)
INSERT INTO reservation (reservation_id, order_id, state, skus, quantities, currency, total_minor)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
PUT_BACK = """
WITH released AS (
    UPDATE reservation SET state = $2 WHERE reservation_id = $1 RETURNING skus, quantities
)
UPDATE stock SET available = available + line.quantity
FROM released, unnest(released.skus, released.quantities) AS line (sku, quantity) WHERE stock.sku = line.sku
"""
ADD_ITEM = "INSERT INTO stock (sku, name, currency, price_minor, available, delivered) VALUES ($1, $2, $3, $4, $5, $5)"
"""Fails where somebody else has just added the item: what they delivered must not be overwritten unseen."""
SAVE_ITEM = """
UPDATE stock SET name = $2, currency = $3, price_minor = $4, available = $5, delivered = delivered + $5 - available
WHERE sku = $1
"""
ITEM = "SELECT * FROM stock WHERE sku = $1"
PIECES = """
SELECT 'available' AS state, coalesce(sum(available), 0)::float8 AS pieces FROM stock
UNION ALL
SELECT 'delivered', coalesce(sum(delivered), 0)::float8 FROM stock
UNION ALL
SELECT 'reserved', coalesce(sum(quantity), 0)::float8 FROM reservation, unnest(quantities) AS quantity
WHERE reservation.state = 'RESERVED'
"""
"""As of one moment: whatever happens meanwhile, what is available and what is reserved make up what was delivered."""
PAGE = "SELECT * FROM stock WHERE sku > $1 ORDER BY sku LIMIT $2"


class PostgresShelf:
    """The shelf of `core`, within one transaction."""

    def __init__(self, connection: Session) -> None:
        self._connection = connection

    async def reservation(self, reservation_id: str) -> Reservation | None:
        row = await self._connection.fetchrow(RESERVATION, reservation_id)
        return None if row is None else _reservation(row)

    async def stock(self, skus: Sequence[str]) -> Mapping[str, StockItem]:
        return {row["sku"]: _item(row) for row in await self._connection.fetch(STOCK, list(skus))}

    async def take(self, reservation: Reservation) -> None:
        await self._connection.execute(TAKE, *_values(reservation))

    async def put_back(self, reservation: Reservation) -> None:
        # Locks stock in the order of SKUs first, as `stock` does: two releases must not deadlock.
        await self.stock([line.sku for line in reservation.lines])
        await self._connection.execute(PUT_BACK, reservation.reservation_id, reservation.state.value)

    async def add_item(self, item: StockItem) -> None:
        await self._connection.execute(ADD_ITEM, item.sku, item.name, item.currency, item.price_minor, item.available)

    async def save_item(self, item: StockItem) -> None:
        await self._connection.execute(SAVE_ITEM, item.sku, item.name, item.currency, item.price_minor, item.available)


async def item(connection: Session, sku: str) -> StockItem | None:
    """One item, as it is now."""
    row = await connection.fetchrow(ITEM, sku)
    return None if row is None else _item(row)


async def pieces(connection: Session) -> Mapping[str, float]:
    """How many pieces are available, how many reserved, and how many were delivered. Reads all reservations."""
    return {row["state"]: row["pieces"] for row in await connection.fetch(PIECES)}


async def page(connection: Session, after: str, size: int) -> list[StockItem]:
    """The items after a SKU, by SKU."""
    return [_item(row) for row in await connection.fetch(PAGE, after, size)]


def _values(reservation: Reservation) -> tuple[object, ...]:
    return (
        reservation.reservation_id,
        reservation.order_id,
        reservation.state.value,
        [line.sku for line in reservation.lines],
        [line.quantity for line in reservation.lines],
        reservation.currency,
        reservation.total_minor,
    )


def _reservation(row: asyncpg.Record) -> Reservation:
    lines = zip(row["skus"], row["quantities"], strict=True)
    return Reservation(
        reservation_id=row["reservation_id"],
        order_id=str(row["order_id"]),
        state=State(row["state"]),
        lines=tuple(Line(sku, quantity) for sku, quantity in lines),
        currency=row["currency"],
        total_minor=row["total_minor"],
    )


def _item(row: asyncpg.Record) -> StockItem:
    return StockItem(row["sku"], row["name"], row["currency"], row["price_minor"], row["available"])
