"""Parked keys: a fact of theirs is a dead letter, and what comes after it must not overtake it.

A row is a fact that a group of ordered reactions (`mesh.events.ordered`) has passed over; a key with rows is parked.
Only its first fact may be handled, and the row goes when that is done. So a key is parked no longer when the last of
its facts has been replayed or discarded, and nobody has to say so.
"""

from dataclasses import dataclass

from mesh.postgres.database import Database

FIRST = "SELECT event_id FROM parked WHERE durable = $1 AND key = $2 ORDER BY place LIMIT 1"
PARK = """
WITH inbox AS (
    SELECT EXISTS (SELECT FROM handled WHERE key = 'event/' || $1 || '/' || $3) AS was_handled
), added AS (
    INSERT INTO parked (durable, key, event_id, reason)
    SELECT $1, $2, $3, $4 FROM inbox WHERE NOT was_handled
    ON CONFLICT DO NOTHING
)
SELECT NOT was_handled FROM inbox
"""
LONGEST = 500
"""Characters of a text that is kept or looked for: the database's index has its limit."""
RELEASE = "DELETE FROM parked WHERE durable = $1 AND event_id = $2"


@dataclass(frozen=True)
class Parked:
    """The parked keys of one group, in its service's database. Everything raises Outage if that does not answer."""

    database: Database
    group: str

    async def first(self, key: str) -> str | None:
        """The event that comes before all others of this key, if the key is parked."""
        if not _is_fit(key):
            return None
        async with self.database.connection() as connection:
            return await connection.fetchval(FIRST, self.group, key)

    async def park(self, key: str, event_id: str | None, reason: str) -> bool:
        """Have the later facts of the key wait for this one. False if it has been handled: nothing waits then.

        Nothing waits for what has no id or key that can be kept: it never was an event.
        """
        if event_id is None or not (_is_fit(key) and _is_fit(event_id)):
            return True
        async with self.database.connection() as connection:
            return await connection.fetchval(PARK, self.group, key, event_id, reason[:LONGEST].replace("\0", "?"))

    async def release(self, event_id: str) -> None:
        """Nothing waits for this event any more."""
        if not _is_fit(event_id):
            return
        async with self.database.connection() as connection:
            await connection.execute(RELEASE, self.group, event_id)


def _is_fit(text: str) -> bool:
    """Whether the database can hold it: whoever may publish can write what he likes."""
    return len(text) <= LONGEST and "\0" not in text
