"""Notification's table."""

import asyncpg

from mesh.postgres import lockstep
from mesh.postgres.lockstep import Session
from services.notification.core import Confirmation, Money, Notification, State

ADD = """
INSERT INTO notification (notification_id, order_id, state, email, currency, amount_minor, tracking, sent_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (notification_id) DO UPDATE SET attempted_at = now()
RETURNING *
"""
NOTIFICATION = "SELECT * FROM notification WHERE notification_id = $1 FOR UPDATE"
SAVE = "UPDATE notification SET state = $2, sent_at = $3 WHERE notification_id = $1"
TAKE_ORPHAN = """
UPDATE notification SET attempted_at = now() WHERE notification_id = (
    SELECT notification_id FROM notification
    WHERE state = 'SENDING' AND attempted_at < now() - interval '60 seconds'
    ORDER BY attempted_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING *
"""
PAGE = """
SELECT * FROM notification
WHERE ($1 = '' OR order_id::text = $1)
  AND ($2 = '' OR number < (SELECT number FROM notification WHERE notification_id = $2))
ORDER BY number DESC LIMIT $3
"""


class PostgresNotifications:
    """The notifications of `core`, within one transaction."""

    def __init__(self, connection: Session) -> None:
        self._connection = connection

    async def add(self, notification: Notification) -> Notification:
        confirmation = notification.confirmation
        row = await lockstep.get(
            self._connection,
            ADD,
            notification.notification_id,
            notification.order_id,
            notification.state.value,
            confirmation.email,
            confirmation.total.currency,
            confirmation.total.amount_minor,
            confirmation.tracking,
            notification.sent_at,
        )
        return _notification(row)

    async def get(self, notification_id: str) -> Notification:
        row = await lockstep.get(self._connection, NOTIFICATION, notification_id)
        return _notification(row)

    async def save(self, notification: Notification) -> None:
        state = notification.state.value
        await self._connection.execute(SAVE, notification.notification_id, state, notification.sent_at)


async def page(connection: Session, order_id: str, after: str, size: int) -> list[Notification]:
    """Notifications about an order (about all, if it is empty) that are older than `after`; newest first."""
    return [_notification(row) for row in await connection.fetch(PAGE, order_id, after, size)]


async def take_orphan(connection: Session) -> Notification | None:
    """A notification that waits for the mail server's word, if nobody has asked for it in a minute."""
    row = await connection.fetchrow(TAKE_ORPHAN)
    return None if row is None else _notification(row)


def _notification(row: asyncpg.Record) -> Notification:
    return Notification(
        notification_id=row["notification_id"],
        order_id=str(row["order_id"]),
        state=State(row["state"]),
        confirmation=Confirmation(row["email"], Money(row["currency"], row["amount_minor"]), row["tracking"]),
        sent_at=row["sent_at"],
    )
