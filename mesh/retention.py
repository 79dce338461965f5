"""What is kept for repeats and for sending again does not grow for ever."""

from mesh.events.streams import AGAIN, DAY, DEAD_LETTERS, Stream
from mesh.postgres.database import Database

SENT_DAYS = 7
"""Facts that were sent: from when they were announced, so that a fact that is sent again is not kept longer for it."""
HANDLED_DAYS = round(SENT_DAYS + (2 * AGAIN.max_age + DEAD_LETTERS.max_age + Stream.max_age) / DAY) + 2
"""Marks, answers and fences. A fact may be sent again on its last day in the outbox, wait in its stream and once more
in AGAIN, end as a dead letter and be replayed on that one's last day: who has handled it must still know."""

FORGET = """
WITH sent AS (
    DELETE FROM outbox WHERE sent_at IS NOT NULL AND announced_at < now() - make_interval(days => $1)
),
    raised AS (DELETE FROM fence WHERE raised_at < now() - make_interval(days => $2))
DELETE FROM handled WHERE handled_at < now() - make_interval(days => $2)
"""


async def forget(database: Database) -> None:
    """Delete what is older than it needs to be. Raises Outage."""
    async with database.connection() as connection:
        await connection.execute(FORGET, SENT_DAYS, HANDLED_DAYS)
