"""One saga in trouble is no trouble for the others."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from orchestrator import statements
from orchestrator.log import Kind
from orchestrator.store import LEASE_S, QUARANTINE_AFTER, UNSPACED
from tests.conformance.stores import VERSION, InPostgres, entries, new_saga, third
from tests.eventually import eventually
from tests.foundations import Foundations

pytestmark = pytest.mark.integration


class Troubled:
    """Replicas over PostgreSQL, and a hand in its tables."""

    def __init__(self, stores: InPostgres, hand: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.replica = stores.replica
        self.hand = hand


@pytest.fixture
async def troubled(foundations: Foundations) -> AsyncGenerator[Troubled]:
    url = await foundations.database()
    async with AsyncExitStack() as stack:
        hand = await asyncpg.connect(url)
        stack.push_async_callback(hand.close)
        yield Troubled(InPostgres(url, stack), hand)


async def test_a_saga_that_a_later_release_has_written_is_put_down_and_the_others_are_claimed(
    troubled: Troubled,
) -> None:
    store, sagas = await troubled.replica(), [new_saga() for _ in range(5)]
    for saga in sagas:
        await store.start(saga, owned=False)
    await troubled.hand.execute("UPDATE saga_log SET kind = 'FROM_TOMORROW' WHERE saga_id = $1", sagas[2].saga_id)

    claimed = await store.claim(10)

    assert {record.saga_id for record in claimed} == {saga.saga_id for saga in sagas} - {sagas[2].saga_id}
    assert sagas[2].saga_id not in await store.owned()
    assert await store.claim(10) == []


async def test_a_saga_whose_row_is_held_by_somebody_does_not_hold_up_the_others(troubled: Troubled) -> None:
    store, sagas = await troubled.replica(), [new_saga() for _ in range(20)]
    for saga in sagas:
        await store.start(saga)
    async with troubled.hand.transaction():
        await troubled.hand.execute("SELECT FROM saga WHERE saga_id = $1 FOR UPDATE", sagas[7].saga_id)
        appends = [asyncio.ensure_future(store.append(third(saga))) for saga in sagas]

        await eventually(lambda: sum(append.done() for append in appends) == len(sagas) - 1)

        assert not appends[7].done()
    await asyncio.gather(*appends)
    assert await entries(store, sagas[7]) == [Kind.STARTED, Kind.STEP_STARTED, Kind.STEP_SUCCEEDED]


async def test_what_a_replica_claims_while_it_leaves_is_taken_up_by_others(troubled: Troubled) -> None:
    leaving, other, saga = await troubled.replica(), await troubled.replica(), new_saga()
    await other.start(saga, owned=False)
    async with troubled.hand.transaction():
        limits = (10, LEASE_S, QUARANTINE_AFTER, UNSPACED)
        assert len(await troubled.hand.fetch(statements.CLAIM, leaving.replica_id, [VERSION], *limits)) == 1
        await leaving.release()

    assert [record.saga_id for record in await other.claim(10)] == [saga.saga_id]


async def test_the_same_starts_in_another_order_do_not_deadlock(troubled: Troubled) -> None:
    one, other, sagas = await troubled.replica(), await troubled.replica(), [new_saga() for _ in range(200)]

    await asyncio.gather(*(one.start(saga) for saga in sagas), *(other.start(saga) for saga in reversed(sagas)))

    owned = [*(await one.owned()), *(await other.owned())]
    assert sorted(owned) == sorted(saga.saga_id for saga in sagas)
