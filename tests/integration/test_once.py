"""What happens once: a request is answered once, a fact is handled once, and both with all that follows."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
from shop.inventory.v1.inventory_service_pb2 import AdjustStockRequest, AdjustStockResponse
from shop.inventory.v1.stock_pb2 import StockItem
from shop.orders.v1.orders_facts_pb2 import OrderCreated

from mesh.errors import Outage, Refusal, refused
from mesh.postgres.database import Database, Once, Transaction
from mesh.retention import forget
from mesh.telemetry import tracing
from tests.foundations import Foundations
from tests.tables import tables

pytestmark = pytest.mark.integration

TABLES = tables("CREATE TABLE effect (id int GENERATED ALWAYS AS IDENTITY)")
REQUEST = AdjustStockRequest(request_id="r-1", sku="A", delta=1)
LEADS_TO = (OrderCreated,)


@pytest.fixture
async def database(foundations: Foundations) -> AsyncGenerator[Database]:
    async with Database.open(await foundations.database(), "test", TABLES) as database:
        yield database


async def effects(database: Database) -> int:
    return await database.pool.fetchval("SELECT count(*) FROM effect")


async def adjust(tx: Transaction) -> AdjustStockResponse:
    number = await tx.connection.fetchval("INSERT INTO effect DEFAULT VALUES RETURNING id")
    tx.announce(OrderCreated(order_id=f"order-{number}"))
    return AdjustStockResponse(item=StockItem(sku="A", available=number))


async def refuse(tx: Transaction) -> AdjustStockResponse:
    raise refused("OUT_OF_STOCK", "none left", sku="A")


async def test_a_repeat_gets_the_first_answer_and_does_nothing(database: Database) -> None:
    first = await database.once(REQUEST, AdjustStockResponse, adjust)
    again = await database.once(REQUEST, AdjustStockResponse, adjust)

    assert again == first
    assert await effects(database) == 1
    assert await database.pool.fetchval("SELECT count(*) FROM outbox") == 1


async def test_repeats_at_the_same_time_have_one_effect(database: Database) -> None:
    answers = await asyncio.gather(*(database.once(REQUEST, AdjustStockResponse, adjust) for _ in range(20)))

    assert len({answer.item.available for answer in answers}) == 1
    assert await effects(database) == 1


async def test_a_refusal_is_stored_and_repeated_even_if_it_would_be_granted_now(database: Database) -> None:
    for work in (refuse, adjust):
        with pytest.raises(Refusal) as refusal:
            await database.once(REQUEST, AdjustStockResponse, work)
        assert (refusal.value.reason, refusal.value.metadata) == ("OUT_OF_STOCK", {"sku": "A"})
    assert await effects(database) == 0


async def test_an_id_used_for_another_request_is_refused(database: Database) -> None:
    await database.once(REQUEST, AdjustStockResponse, adjust)
    other = AdjustStockRequest(request_id="r-1", sku="A", delta=2)

    with pytest.raises(Refusal) as refusal:
        await database.once(other, AdjustStockResponse, adjust)
    assert refusal.value.reason == "REQUEST_ID_REUSED"


async def test_a_failure_leaves_nothing_so_that_a_repeat_starts_anew(database: Database) -> None:
    async def fail(tx: Transaction) -> AdjustStockResponse:
        await adjust(tx)
        raise Outage("the power went")

    with pytest.raises(Outage):
        await database.once(REQUEST, AdjustStockResponse, fail)
    assert await effects(database) == 0

    await database.once(REQUEST, AdjustStockResponse, adjust)
    assert await effects(database) == 1


async def test_an_event_is_handled_once_per_durable(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        await adjust(tx)

    for durable in ("a_Created", "a_Created", "b_Created"):
        await database.once_per_event(durable, "event-1", datetime.now(UTC), LEADS_TO)(work)

    assert await effects(database) == 2


async def test_a_reaction_announces_nothing_that_it_does_not_declare(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        await adjust(tx)

    with pytest.raises(TypeError, match=r"does not lead to shop\.orders\.v1\.OrderCreated"):
        await database.once_per_event("a_Created", "event-1", datetime.now(UTC))(work)

    assert await effects(database) == 0


async def test_a_request_id_cannot_pass_for_an_event(database: Database) -> None:
    forged = AdjustStockRequest(request_id="a_Created/event-1", sku="A")
    await database.once(forged, AdjustStockResponse, adjust)

    async def work(tx: Transaction) -> None:
        await adjust(tx)

    await database.once_per_event("a_Created", "event-1", datetime.now(UTC), LEADS_TO)(work)
    assert await effects(database) == 2


async def test_what_is_old_enough_is_forgotten_and_nothing_else(database: Database) -> None:
    await database.once(REQUEST, AdjustStockResponse, adjust)
    await forget(database)
    assert await database.pool.fetchval("SELECT count(*) FROM handled") == 1

    await database.pool.execute("UPDATE handled SET handled_at = now() - interval '61 days'")
    await database.pool.execute("UPDATE outbox SET announced_at = now() - interval '8 days'")
    await forget(database)
    assert await database.pool.fetchval("SELECT count(*) FROM handled") == 0
    assert await database.pool.fetchval("SELECT count(*) FROM outbox") == 1  # it was never sent

    await database.pool.execute("UPDATE outbox SET sent_at = now()")
    await forget(database)
    assert await database.pool.fetchval("SELECT count(*) FROM outbox") == 0


async def test_repeats_that_write_the_same_row_at_the_same_time_all_get_the_first_answer(database: Database) -> None:
    async def write(tx: Transaction) -> AdjustStockResponse:
        await tx.connection.execute("INSERT INTO made (id) VALUES ('same')")
        return AdjustStockResponse()

    await database.pool.execute("CREATE TABLE made (id text PRIMARY KEY)")

    answers = await asyncio.gather(*(database.once(REQUEST, AdjustStockResponse, write) for _ in range(20)))

    assert answers == [AdjustStockResponse()] * 20


async def test_events_that_are_handled_together_stay_in_their_own_traces(database: Database) -> None:
    async def handle(number: int) -> None:
        async def work(tx: Transaction) -> None:
            await tx.connection.execute("INSERT INTO effect VALUES (DEFAULT)")
            tx.announce(OrderCreated(order_id=str(number)))

        with tracing.continued({"traceparent": f"00-{number:032x}-{number:016x}-01"}, "again"):
            await database.once_per_event("a_Created", f"event-{number}", datetime.now(UTC), LEADS_TO)(work)

    numbers = range(1, 21)
    await handle(100)
    await asyncio.gather(*(handle(number) for number in numbers))

    rows = await database.pool.fetch("SELECT key, headers ->> 'traceparent' AS parent FROM outbox")
    traces = {row["key"]: int(row["parent"].split("-")[1], 16) for row in rows}
    assert traces == {str(number): number for number in (100, *numbers)}


async def test_a_repeat_among_others_is_found_and_spoils_nothing(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        await tx.connection.execute("INSERT INTO effect VALUES (DEFAULT)")

    def once(number: int) -> Once:
        return database.once_per_event("a_Created", f"event-{number}", datetime.now(UTC), LEADS_TO)

    await once(3)(work)
    handled = [once(number) for number in range(10)]
    await asyncio.gather(*(each(work) for each in handled))

    assert [each.was_handled for each in handled] == [number == 3 for number in range(10)]
    assert await effects(database) == 10
