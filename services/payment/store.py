"""Payment's table."""

import asyncpg

from mesh.postgres import lockstep
from mesh.postgres.lockstep import Session
from services.payment.core import Money, Payment, State

ADD = """
INSERT INTO payment (payment_id, order_id, state, currency, amount_minor, token, decline_code)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (payment_id) DO UPDATE SET attempted_at = now()
RETURNING *
"""
PAYMENT = "SELECT * FROM payment WHERE payment_id = $1"
SAVE = "UPDATE payment SET state = $2, currency = $3, amount_minor = $4, decline_code = $5 WHERE payment_id = $1"
TAKE_ORPHAN = """
UPDATE payment SET attempted_at = now() WHERE payment_id = (
    SELECT payment_id FROM payment
    WHERE state IN ('CHARGING', 'REFUNDING') AND attempted_at < now() - interval '60 seconds'
    ORDER BY attempted_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING *
"""

TAKEN = """
SELECT currency, state, sum(amount_minor)::float8 AS money FROM payment
WHERE currency IS NOT NULL AND state <> 'DECLINED' GROUP BY currency, state
"""


class PostgresPayments:
    """The payments of `core`, within one transaction."""

    def __init__(self, connection: Session) -> None:
        self._connection = connection

    async def add(self, payment: Payment) -> Payment:
        row = await lockstep.get(
            self._connection,
            ADD,
            payment.payment_id,
            payment.order_id,
            payment.state.value,
            *_columns(payment.amount),
            payment.token,
            payment.decline_code,
        )
        return _payment(row)

    async def get(self, payment_id: str) -> Payment:
        row = await lockstep.get(self._connection, f"{PAYMENT} FOR UPDATE", payment_id)
        return _payment(row)

    async def save(self, payment: Payment) -> None:
        state, amount = payment.state.value, _columns(payment.amount)
        await self._connection.execute(SAVE, payment.payment_id, state, *amount, payment.decline_code)


async def payment(connection: Session, payment_id: str) -> Payment | None:
    """One payment, as it is now."""
    row = await connection.fetchrow(PAYMENT, payment_id)
    return None if row is None else _payment(row)


async def take_orphan(connection: Session) -> Payment | None:
    """A payment that waits for the gateway's word, if nobody has asked for it in a minute."""
    row = await connection.fetchrow(TAKE_ORPHAN)
    return None if row is None else _payment(row)


async def taken(connection: Session) -> dict[tuple[str, State], float]:
    """What all payments of a currency and a state come to, in its smallest unit. Reads them all."""
    return {(row["currency"], State(row["state"])): row["money"] for row in await connection.fetch(TAKEN)}


def _columns(amount: Money | None) -> tuple[str | None, int | None]:
    return (None, None) if amount is None else (amount.currency, amount.amount_minor)


def _payment(row: asyncpg.Record) -> Payment:
    return Payment(
        payment_id=row["payment_id"],
        order_id=str(row["order_id"]),
        state=State(row["state"]),
        amount=None if row["currency"] is None else Money(row["currency"], row["amount_minor"]),
        token=row["token"],
        decline_code=row["decline_code"],
    )
