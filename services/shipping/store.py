"""Shipping's table."""

import asyncpg

from mesh.postgres import lockstep
from mesh.postgres.lockstep import Session
from services.shipping.core import Line, Parcel, Shipment, State

ADD = """
INSERT INTO shipment (shipment_id, order_id, state, skus, quantities, postcode, country, tracking, refusal_code)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (shipment_id) DO UPDATE SET attempted_at = now()
RETURNING *
"""
SHIPMENT = "SELECT * FROM shipment WHERE shipment_id = $1"
SAVE = "UPDATE shipment SET state = $2, tracking = $3, refusal_code = $4 WHERE shipment_id = $1"
TAKE_ORPHAN = """
UPDATE shipment SET attempted_at = now() WHERE shipment_id = (
    SELECT shipment_id FROM shipment
    WHERE state IN ('BOOKING', 'CANCELLING') AND attempted_at < now() - interval '60 seconds'
    ORDER BY attempted_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING *
"""


class PostgresShipments:
    """The shipments of `core`, within one transaction."""

    def __init__(self, connection: Session) -> None:
        self._connection = connection

    async def add(self, shipment: Shipment) -> Shipment:
        parcel = shipment.parcel
        row = await lockstep.get(
            self._connection,
            ADD,
            shipment.shipment_id,
            shipment.order_id,
            shipment.state.value,
            [line.sku for line in parcel.lines] if parcel else [],
            [line.quantity for line in parcel.lines] if parcel else [],
            parcel.postcode if parcel else None,
            parcel.country if parcel else None,
            shipment.tracking,
            shipment.refusal_code,
        )
        return _shipment(row)

    async def get(self, shipment_id: str) -> Shipment:
        row = await lockstep.get(self._connection, f"{SHIPMENT} FOR UPDATE", shipment_id)
        return _shipment(row)

    async def save(self, shipment: Shipment) -> None:
        state = shipment.state.value
        await self._connection.execute(SAVE, shipment.shipment_id, state, shipment.tracking, shipment.refusal_code)


async def shipment(connection: Session, shipment_id: str) -> Shipment | None:
    """One shipment, as it is now."""
    row = await connection.fetchrow(SHIPMENT, shipment_id)
    return None if row is None else _shipment(row)


async def take_orphan(connection: Session) -> Shipment | None:
    """A shipment that waits for the carrier's word, if nobody has asked for it in a minute."""
    row = await connection.fetchrow(TAKE_ORPHAN)
    return None if row is None else _shipment(row)


def _shipment(row: asyncpg.Record) -> Shipment:
    return Shipment(
        shipment_id=row["shipment_id"],
        order_id=str(row["order_id"]),
        state=State(row["state"]),
        parcel=None if row["postcode"] is None else _parcel(row),
        tracking=row["tracking"],
        refusal_code=row["refusal_code"],
    )


def _parcel(row: asyncpg.Record) -> Parcel:
    lines = zip(row["skus"], row["quantities"], strict=True)
    return Parcel(tuple(Line(sku, quantity) for sku, quantity in lines), row["postcode"], row["country"])
