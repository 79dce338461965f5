"""What is kept for repeats and for sending again does not grow for ever."""

from mesh.database import Database

SENT_DAYS = 7
"""Facts in the outbox after they were sent: as long as the stream keeps them, so that they can be sent again."""
HANDLED_DAYS = 45
"""Marks, answers and fences. Longer than stream and dead letters together: whatever may still come again is known."""

FORGET = """
WITH sent AS (DELETE FROM outbox WHERE sent_at < now() - make_interval(days => $1)),
    raised AS (DELETE FROM fence WHERE raised_at < now() - make_interval(days => $2))
DELETE FROM handled WHERE handled_at < now() - make_interval(days => $2)
"""


async def forget(database: Database) -> None:
    """Delete what is older than it needs to be. Raises Outage."""
    async with database.connection() as connection:
        await connection.execute(FORGET, SENT_DAYS, HANDLED_DAYS)
