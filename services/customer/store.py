"""The front door's table: its own outbox of orders that are to be handed over."""

import asyncpg

from mesh.postgres.lockstep import Session
from services.customer.core import Mode, Placed

INSERT = "INSERT INTO placed (order_id, mode, purchase, trace, placed_at) VALUES ($1, $2, $3, $4, $5)"
SELECT = "SELECT * FROM placed WHERE order_id = $1"
HANDED_OVER = "UPDATE placed SET handed_over_at = now() WHERE order_id = $1 AND handed_over_at IS NULL"
WAITING = """
SELECT * FROM placed WHERE handed_over_at IS NULL AND placed_at < now() - interval '1 second'
ORDER BY placed_at LIMIT 50
"""


async def insert(connection: Session, placed: Placed) -> None:
    """Accept an order."""
    await connection.execute(
        INSERT, placed.order_id, placed.mode.value, placed.purchase, placed.trace, placed.placed_at
    )


async def select(connection: Session, order_id: str) -> Placed | None:
    """An order that was accepted."""
    row = await connection.fetchrow(SELECT, order_id)
    return None if row is None else _placed(row)


async def handed_over(connection: Session, order_id: str) -> None:
    """The promise is kept."""
    await connection.execute(HANDED_OVER, order_id)


async def waiting(connection: Session) -> list[Placed]:
    """Orders that whoever accepted them has not handed over: it is slow, or gone."""
    return [_placed(row) for row in await connection.fetch(WAITING)]


def _placed(row: asyncpg.Record) -> Placed:
    return Placed(str(row["order_id"]), Mode(row["mode"]), bytes(row["purchase"]), row["trace"], row["placed_at"])
