"""What a saga store promises of logs: one suite, held by the one in memory and by PostgreSQL."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from orchestrator.log import Kind, State
from orchestrator.store import Conflict, Fenced, Listing
from tests.conformance.stores import Stores, entries, new_saga, third

pytestmark = pytest.mark.integration


async def test_what_is_started_is_stored_and_owned(stores: Stores) -> None:
    store, saga = await stores.replica(), new_saga()

    started = await store.start(saga)
    read = await store.get(saga.saga_id)

    assert read is not None
    assert (started.owner, started.epoch, started.state) == (store.replica_id, 1, State.RUNNING)
    assert (read.owner, read.epoch, read.state, read.input) == (store.replica_id, 1, State.RUNNING, b"input")
    assert read.trace_context == {"traceparent": "t"}
    assert [entry.kind for entry in read.entries] == [Kind.STARTED, Kind.STEP_STARTED]
    assert all(entry.at is not None for entry in read.entries)


async def test_starting_again_changes_nothing_and_with_another_input_is_a_conflict(stores: Stores) -> None:
    store, saga = await stores.replica(), new_saga()
    await store.start(saga)
    await store.append(third(saga))

    again = await store.start(saga)

    assert len(again.entries) == 3
    with pytest.raises(Conflict):
        await store.start(replace(saga, input=b"other"))


async def test_many_starts_at_once_make_one_saga(stores: Stores) -> None:
    replicas, saga = [await stores.replica() for _ in range(3)], new_saga()

    started = await asyncio.gather(*(replica.start(saga) for replica in replicas for _ in range(5)))

    assert len({record.owner for record in started}) == 1
    assert await entries(replicas[0], saga) == [Kind.STARTED, Kind.STEP_STARTED]


async def test_an_append_is_stored_with_all_it_says(stores: Stores) -> None:
    store, saga = await stores.replica(), new_saga()
    await store.start(saga)

    await store.append(third(saga, kind=Kind.STEP_REFUSED, state=State.UNWINDING))

    record = await store.get(saga.saga_id)
    assert record is not None
    assert record.state is State.UNWINDING
    last = record.entries[-1]
    assert (last.sequence, last.run, last.path, last.kind) == (3, 1, "first", Kind.STEP_REFUSED)
    assert (last.payload, last.reason, last.message, last.epoch) == (b"answer", "REASON", "message", 1)


async def test_the_same_append_again_is_stored_once(stores: Stores) -> None:
    store, saga = await stores.replica(), new_saga()
    await store.start(saga)

    await store.append(third(saga))
    await store.append(third(saga))

    assert await entries(store, saga) == [Kind.STARTED, Kind.STEP_STARTED, Kind.STEP_SUCCEEDED]


async def test_another_entry_at_the_same_place_is_fenced(stores: Stores) -> None:
    store, saga = await stores.replica(), new_saga()
    await store.start(saga)
    await store.append(third(saga))

    with pytest.raises(Fenced):
        await store.append(third(saga, kind=Kind.STEP_REFUSED))
    assert await entries(store, saga) == [Kind.STARTED, Kind.STEP_STARTED, Kind.STEP_SUCCEEDED]


async def test_a_gap_in_the_log_is_fenced(stores: Stores) -> None:
    store, saga = await stores.replica(), new_saga()
    await store.start(saga)
    entry = replace(third(saga).entries[0], sequence=4)

    with pytest.raises(Fenced):
        await store.append(replace(third(saga), sequence=4, entries=[entry]))
    assert len(await entries(store, saga)) == 2


async def test_only_the_owner_appends(stores: Stores) -> None:
    owner, other, saga = await stores.replica(), await stores.replica(), new_saga()
    await owner.start(saga)

    with pytest.raises(Fenced):
        await other.append(third(saga))
    assert len(await entries(owner, saga)) == 2


async def test_a_fenced_append_does_not_fail_its_batch(stores: Stores) -> None:
    store, sagas = await stores.replica(), [new_saga() for _ in range(20)]
    for saga in sagas:
        await store.start(saga)

    outcomes = await asyncio.gather(
        *(store.append(third(saga, epoch=1 + number % 2)) for number, saga in enumerate(sagas)), return_exceptions=True
    )

    assert [isinstance(outcome, Fenced) for outcome in outcomes] == [bool(number % 2) for number in range(20)]
    assert [len(await entries(store, saga)) for saga in sagas] == [3 - number % 2 for number in range(20)]


async def test_a_saga_of_a_version_that_is_not_deployed_is_left_alone_and_listed_as_blocked(stores: Stores) -> None:
    store, saga = await stores.replica(), replace(new_saga(), version="v0")
    await store.start(saga, owned=False)

    assert await store.claim(10) == []
    blocked = await store.list(Listing(frozenset(State), blocked=True))
    assert [record.saga_id for record in blocked] == [saga.saga_id]


async def test_a_cancel_is_told_to_the_owner_by_its_next_append_and_the_first_reason_stays(stores: Stores) -> None:
    store, saga = await stores.replica(), new_saga()
    await store.start(saga)

    await store.cancel(saga.saga_id, "FIRST")
    await store.cancel(saga.saga_id, "SECOND")

    assert (await store.append(third(saga))).cancel_reason == "FIRST"
    assert await store.cancel(str(uuid.uuid4()), "NOBODY") is None


async def test_sagas_are_listed_newest_first_page_by_page(stores: Stores) -> None:
    store, sagas = await stores.replica(), [new_saga() for _ in range(5)]
    for saga in sagas:
        await store.start(saga)

    first = await store.list(Listing(frozenset(State), size=3))
    rest = await store.list(Listing(frozenset(State), size=3, after=(first[-1].created_at, first[-1].saga_id)))

    assert [record.saga_id for record in [*first, *rest]] == [saga.saga_id for saga in reversed(sagas)]
    assert all(record.entries == () for record in first)
