"""What a saga store promises of who runs a saga: one suite, held by the one in memory and by PostgreSQL."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from orchestrator.log import Kind, State
from orchestrator.store import QUARANTINE_AFTER, UNSPACED, Fenced, Listing
from tests.conformance.stores import Stores, entries, new_saga, parking, third

pytestmark = pytest.mark.integration


async def test_a_saga_whose_owner_is_alive_is_not_claimed(stores: Stores) -> None:
    owner, other, saga = await stores.replica(), await stores.replica(), new_saga()
    await owner.start(saga)

    assert await other.claim(10) == []


async def test_a_claim_raises_the_epoch_and_fences_the_owner_before(stores: Stores) -> None:
    owner, other, saga = await stores.replica(), await stores.replica(), new_saga()
    await owner.start(saga)
    await stores.expire(owner)

    (claimed,) = await other.claim(10)

    assert (claimed.saga_id, claimed.owner, claimed.epoch) == (saga.saga_id, other.replica_id, 2)
    assert claimed.attempts == 2
    with pytest.raises(Fenced):
        await owner.append(third(saga))
    await other.append(third(saga, epoch=2))
    assert await entries(owner, saga) == [Kind.STARTED, Kind.STEP_STARTED, Kind.STEP_SUCCEEDED]


async def test_each_orphan_is_claimed_by_one(stores: Stores) -> None:
    owner = await stores.replica()
    sagas = [new_saga() for _ in range(30)]
    for saga in sagas:
        await owner.start(saga)
    await stores.expire(owner)
    replicas = [await stores.replica() for _ in range(3)]

    claims = await asyncio.gather(*(replica.claim(30) for replica in replicas))

    claimed = [record.saga_id for claim in claims for record in claim]
    assert len(claimed) == len(set(claimed))
    rest = await replicas[0].claim(30)
    assert sorted([*claimed, *(record.saga_id for record in rest)]) == sorted(saga.saga_id for saga in sagas)


async def test_a_saga_whose_owners_process_has_ended_is_claimed_before_the_lease_is_over(stores: Stores) -> None:
    owner, other, saga = await stores.replica(), await stores.replica(), new_saga()
    await owner.start(saga)
    assert await other.claim(10) == []

    await stores.end(owner)

    claimed: list[str] = []
    while not claimed:  # a server that has only just started is no witness yet
        claimed = [record.saga_id for record in await other.claim(10)]
    assert claimed == [saga.saga_id]


async def test_a_parked_saga_has_no_owner_until_its_time_has_come(stores: Stores) -> None:
    store, saga, now = await stores.replica(), new_saga(), new_saga()
    await store.start(saga)
    await store.start(now)

    await store.append(parking(saga, 3600))
    await store.append(parking(now, 0))

    parked = await store.get(saga.saga_id)
    assert parked is not None
    assert (parked.owner, parked.state, len(parked.entries)) == (None, State.RUNNING, 2)
    with pytest.raises(Fenced):
        await store.append(third(saga))
    claimed = await store.claim(10)
    assert [(record.saga_id, record.epoch) for record in claimed] == [(now.saga_id, 2)]


async def test_parking_and_an_entry_are_one_append(stores: Stores) -> None:
    store, saga = await stores.replica(), new_saga()
    await store.start(saga)

    await store.append(replace(third(saga), park_s=3600))
    await store.append(replace(third(saga), park_s=3600))  # its answer was lost

    parked = await store.get(saga.saga_id)
    assert parked is not None
    assert (parked.owner, len(parked.entries)) == (None, 3)


@pytest.mark.parametrize("asked", ["while it waits", "unheard, just before"])
async def test_a_cancel_ends_the_wait_of_a_parked_saga(stores: Stores, asked: str) -> None:
    store, saga = await stores.replica(), new_saga()
    await store.start(saga)
    if asked == "while it waits":
        await store.append(parking(saga, 3600))
        await store.cancel(saga.saga_id, "CUSTOMER_REQUEST")
    else:
        await store.cancel(saga.saga_id, "CUSTOMER_REQUEST")
        await store.append(parking(saga, 3600))

    (claimed,) = await store.claim(10)
    assert claimed.cancel_reason == "CUSTOMER_REQUEST"
    await store.append(parking(saga, 3600, epoch=2, cancel_heard=True))
    assert await store.claim(10) == []


async def test_a_saga_that_never_gets_on_is_spaced_quarantined_and_resumed(stores: Stores) -> None:
    store, saga = await stores.replica(), new_saga()
    await store.start(saga)
    claims = 0
    for _ in range(QUARANTINE_AFTER):
        record = await store.get(saga.saga_id)
        assert record is not None
        assert not record.quarantined
        await store.put_down(saga.saga_id, record.epoch, 0)
        claims += len(await store.claim(10))

    quarantined = await store.get(saga.saga_id)
    assert quarantined is not None
    assert (quarantined.quarantined, quarantined.owner, claims) == (True, None, QUARANTINE_AFTER - 1)
    assert [r.saga_id for r in await store.list(Listing(frozenset(State), quarantined=True))] == [saga.saga_id]

    await store.resume(saga.saga_id)
    (resumed,) = await store.claim(10)
    assert (resumed.quarantined, resumed.attempts) == (False, 1)


async def test_an_orphan_that_never_gets_on_is_left_alone_for_a_while(stores: Stores) -> None:
    saga, replicas = new_saga(), [await stores.replica() for _ in range(UNSPACED + 2)]
    await replicas[0].start(saga)
    for before, after in itertools.pairwise(replicas[:-1]):
        await stores.expire(before)
        assert len(await after.claim(10)) == 1

    await stores.expire(replicas[-2])

    assert await replicas[-1].claim(10) == []


async def test_getting_on_is_counted_as_no_attempt(stores: Stores) -> None:
    owner, other, saga = await stores.replica(), await stores.replica(), new_saga()
    await owner.start(saga)
    await owner.append(third(saga))
    await stores.expire(owner)

    (claimed,) = await other.claim(10)

    assert claimed.attempts == 1


async def test_what_is_put_down_by_an_earlier_owner_stays_where_it_is(stores: Stores) -> None:
    owner, other, saga = await stores.replica(), await stores.replica(), new_saga()
    await owner.start(saga)
    await stores.expire(owner)
    await other.claim(10)

    await owner.put_down(saga.saga_id, 1, 3600)

    assert list(await other.owned()) == [saga.saga_id]


async def test_what_is_released_is_claimed_at_once(stores: Stores) -> None:
    owner, other, saga = await stores.replica(), await stores.replica(), new_saga()
    await owner.start(saga)

    await owner.release()

    assert [record.saga_id for record in await other.claim(10)] == [saga.saga_id]


async def test_a_saga_that_has_ended_has_no_owner_and_is_never_claimed(stores: Stores) -> None:
    store, saga = await stores.replica(), new_saga()
    await store.start(saga)
    await store.append(third(saga, state=State.SUCCEEDED))
    await stores.expire(store)

    record = await store.get(saga.saga_id)

    assert record is not None
    assert (record.owner, record.state) == (None, State.SUCCEEDED)
    assert await (await stores.replica()).claim(10) == []
