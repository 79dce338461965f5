"""What only a real database can show: two owners whose transactions overlap, under READ COMMITTED."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from orchestrator import statements
from orchestrator.log import Kind
from orchestrator.store import LEASE_S, QUARANTINE_AFTER, UNSPACED, Fenced, NewSaga
from tests.conformance.stores import VERSION, InPostgres, entries, new_saga, third
from tests.eventually import eventually
from tests.foundations import Foundations

pytestmark = pytest.mark.integration


@dataclass
class Overlap:
    """A zombie whose lease is over, its saga, whoever adopts it, and a connection whose transaction is in our hands."""

    zombie: Any
    heir: Any
    saga: NewSaga
    hand: "asyncpg.Connection[Any]"

    async def claim(self) -> list[Any]:
        """Adopt within the transaction in hand."""
        limits = (10, LEASE_S, QUARANTINE_AFTER, UNSPACED)
        return await self.hand.fetch(statements.CLAIM, self.heir.replica_id, [VERSION], *limits)

    async def waits_for_a_lock(self) -> bool:
        """Whether some statement on this database waits for the transaction in hand."""
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        return await self.hand.fetchval(blocked) > 0


@pytest.fixture
async def overlap(foundations: Foundations) -> AsyncGenerator[Overlap]:
    url = await foundations.database()
    async with AsyncExitStack() as stack:
        stores = InPostgres(url, stack)
        zombie, heir, saga = await stores.replica(), await stores.replica(), new_saga()
        await zombie.start(saga)
        await stores.expire(zombie)
        hand = await asyncpg.connect(url)
        stack.push_async_callback(hand.close)
        yield Overlap(zombie, heir, saga, hand)


async def test_an_append_that_arrives_while_its_saga_is_being_adopted_waits_and_is_fenced(overlap: Overlap) -> None:
    async with overlap.hand.transaction():
        assert len(await overlap.claim()) == 1
        late = asyncio.ensure_future(overlap.zombie.append(third(overlap.saga)))
        await eventually(overlap.waits_for_a_lock)

    with pytest.raises(Fenced):
        await late
    assert await entries(overlap.heir, overlap.saga) == [Kind.STARTED, Kind.STEP_STARTED]


async def test_a_saga_whose_owner_is_just_appending_is_adopted_only_after_that(overlap: Overlap) -> None:
    rows = third(overlap.saga)
    entry = rows.entries[0]
    async with overlap.hand.transaction():
        await overlap.hand.fetch(
            statements.APPEND,
            overlap.zombie.replica_id,
            *([value] for value in (overlap.saga.saga_id, 1, "RUNNING", 3, None, False)),
            *([value] for value in (overlap.saga.saga_id, 3, 1, "first", entry.kind.value, b"", "", "")),
        )
        assert await overlap.heir.claim(10) == []

    (claimed,) = await overlap.heir.claim(10)
    assert [each.kind for each in claimed.entries] == [Kind.STARTED, Kind.STEP_STARTED, Kind.STEP_SUCCEEDED]


async def test_without_the_lock_a_zombies_append_would_slip_in_behind_the_adoption(overlap: Overlap) -> None:
    """Why APPEND locks: the same statement without `FOR SHARE` checks the owner, and then writes all the same."""
    unlocked = statements.APPEND.replace("FOR SHARE OF saga", "")
    assert unlocked != statements.APPEND
    async with overlap.hand.transaction():
        assert len(await overlap.claim()) == 1
        async with overlap.zombie._database.connection() as connection:
            rows = await connection.fetch(
                unlocked,
                overlap.zombie.replica_id,
                *([value] for value in (overlap.saga.saga_id, 1, "RUNNING", 3, None, False)),
                *([value] for value in (overlap.saga.saga_id, 3, 1, "first", "STEP_SUCCEEDED", b"", "", "")),
            )

    assert len(rows) == 1
    assert len(await entries(overlap.heir, overlap.saga)) == 3


async def test_a_lease_that_is_renewed_while_it_is_taken_away_gives_nothing_back(overlap: Overlap) -> None:
    async with overlap.hand.transaction():
        assert len(await overlap.claim()) == 1
        async with overlap.zombie._database.connection() as connection:
            await connection.execute(statements.RENEW, overlap.zombie.replica_id, LEASE_S)

    with pytest.raises(Fenced):
        await overlap.zombie.append(third(overlap.saga))
    await overlap.heir.append(third(overlap.saga, epoch=2))
