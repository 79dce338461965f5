"""What sagas did, told by those whom no replica can fool: the orchestrator's tables and the outside world's ledger."""

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import aiohttp
import asyncpg

from cli.stack.state import State

OPEN = "SELECT count(*) FROM saga WHERE state NOT IN ('SUCCEEDED', 'UNWOUND')"
OWNER = "SELECT owner::text FROM saga WHERE saga_id = $1 AND epoch = 1"
OWNED = "SELECT saga_id::text, epoch FROM saga WHERE owner = $1 AND state NOT IN ('SUCCEEDED', 'UNWOUND')"

RESUMED = """
SELECT saga_id::text,
       min(at) FILTER (WHERE saga_log.epoch > was.epoch) AS resumed,
       min(at) FILTER (WHERE saga_log.epoch > was.epoch AND kind <> 'ADOPTED') AS moved
FROM unnest($1::uuid[], $2::bigint[]) AS was (saga_id, epoch) JOIN saga_log USING (saga_id)
GROUP BY saga_id
HAVING NOT bool_or(kind = 'ENDED' AND saga_log.epoch = was.epoch)
"""

LATE = """
SELECT count(*)
FROM unnest($1::uuid[], $2::bigint[]) AS was (saga_id, epoch) JOIN saga_log USING (saga_id)
WHERE saga_log.epoch <= was.epoch AND at > $3
"""

UNSOUND = """
SELECT saga_id::text, 'epoch ' || epoch || ' wrote after epoch ' || earlier AS what
FROM (SELECT *, lag(epoch) OVER (PARTITION BY saga_id ORDER BY sequence) AS earlier FROM saga_log) AS entry
WHERE epoch < earlier
UNION ALL
SELECT saga_id::text, 'ended ' || count(*) FILTER (WHERE kind = 'ENDED') || ' times'
FROM saga_log GROUP BY saga_id
HAVING count(*) FILTER (WHERE kind = 'ENDED') <> 1
"""

SUCCEEDED = "SELECT saga_id::text FROM saga WHERE state = 'SUCCEEDED'"

ONCE = Counter(charges=1, shipments=1, mails=1)

Epochs = Mapping[str, int]
"""Sagas by id, with their epoch at one moment."""


@dataclass(frozen=True)
class Resumed:
    """How a saga went on under a later owner; None: not yet."""

    appended_at: datetime | None
    """When that wrote its first entry: it has the saga."""
    moved_at: datetime | None
    """When a participant's answer was the first to be written: the saga gets on."""


class Evidence:
    """Reads it from a running stack."""

    def __init__(self, pool: asyncpg.Pool, sandbox_url: str) -> None:
        self._pool = pool
        self._sandbox_url = sandbox_url

    @classmethod
    @asynccontextmanager
    async def open(cls, stack: State) -> AsyncGenerator[Self]:
        """Connected while open."""
        async with asyncpg.create_pool(stack.postgres["orchestrator"], min_size=1, max_size=4) as pool:
            yield cls(pool, stack.sandbox_url)

    async def now(self) -> datetime:
        """By the database's clock, like everything here."""
        return await self._pool.fetchval("SELECT clock_timestamp()")

    async def open_sagas(self) -> int:
        """How many have not ended."""
        return await self._pool.fetchval(OPEN)

    async def first_owner(self, saga_id: str) -> str | None:
        """The replica that runs a saga it was itself asked to start; None where none does, or another by now."""
        return await self._pool.fetchval(OWNER, saga_id)

    async def owned(self, replica_id: str) -> Epochs:
        """The open sagas of a replica."""
        return {row["saga_id"]: row["epoch"] for row in await self._pool.fetch(OWNED, replica_id)}

    async def resumed(self, owned: Epochs) -> Sequence[Resumed]:
        """How each of `owned` went on. Without those that ended before."""
        rows = await self._pool.fetch(RESUMED, list(owned), list(owned.values()))
        return [Resumed(row["resumed"], row["moved"]) for row in rows]

    async def late(self, owned: Epochs, adopted_at: datetime) -> int:
        """How many entries the former owner added to `owned` after they had been adopted."""
        return await self._pool.fetchval(LATE, list(owned), list(owned.values()), adopted_at)

    async def unsound(self) -> list[str]:
        """Logs that cannot be: an earlier owner wrote after a later one, or the saga did not end just once."""
        return [f"{row['saga_id']}: {row['what']}" for row in await self._pool.fetch(UNSOUND)]

    async def not_once(self) -> Mapping[str, Counter[str]]:
        """What was done for each order other than all of it once, if its saga succeeded, and nothing, if not."""
        done = effects(await self._ledger())
        succeeded = {row["saga_id"] for row in await self._pool.fetch(SUCCEEDED)}
        nothing = Counter[str]()
        return {
            order_id: done.get(order_id, nothing)
            for order_id in done.keys() | succeeded
            if done.get(order_id, nothing) != (ONCE if order_id in succeeded else nothing)
        }

    async def _ledger(self) -> Mapping[str, list[dict[str, Any]]]:
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.get(f"{self._sandbox_url}/ledger") as response,
        ):
            return await response.json()


def effects(ledger: Mapping[str, Iterable[Mapping[str, Any]]]) -> Mapping[str, Counter[str]]:
    """What the outside world did for each order, and did not take back."""
    done: dict[str, Counter[str]] = defaultdict(Counter)
    for payment in ledger["payments"]:
        if payment["state"] == "charged":
            done[_order(payment["key"])]["charges"] += 1
    for shipment in ledger["shipments"]:
        if shipment["state"] == "booked":
            done[_order(shipment["key"])]["shipments"] += 1
    for message_id in {mail["message_id"] for mail in ledger["mails"]}:  # SMTP cannot dedupe, the reader's program does
        done[_order(message_id)]["mails"] += 1
    return done


def _order(key: str) -> str:
    """The order in `<order>.<step>`, the key of every effect."""
    return key.removeprefix("<").partition(".")[0]
