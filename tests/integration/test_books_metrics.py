"""What the gauges of the books and of the sagas show, read from real tables."""

import uuid
from collections.abc import AsyncGenerator

import pytest

from mesh.postgres.database import Database
from mesh.postgres.migrations.files import Migrations
from orchestrator import metrics
from orchestrator.postgres import MIGRATIONS as SAGAS
from orchestrator.statements import OPEN
from services.inventory import core, store
from services.inventory.core import Line
from services.orders import __main__ as orders
from services.payment import __main__ as payment
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

DEPLOYED = "v1"


async def opened(foundations: Foundations, service: str) -> AsyncGenerator[Database]:
    migrations = Migrations.of(f"services.{service}")
    async with Database.open(await foundations.database(), service, migrations) as database:
        yield database


@pytest.fixture
async def inventory(foundations: Foundations) -> AsyncGenerator[Database]:
    async for database in opened(foundations, "inventory"):
        yield database


@pytest.fixture
async def sagas(foundations: Foundations) -> AsyncGenerator[Database]:
    async with Database.open(await foundations.database(), "orchestrator", SAGAS) as database:
        yield database


async def test_stock_is_available_or_reserved_and_both_are_what_was_delivered(inventory: Database) -> None:
    async with inventory.transaction() as connection:
        shelf = store.PostgresShelf(connection)
        await core.adjust_stock(shelf, "MUG", 10, "Mug", ("EUR", 900))
        await core.adjust_stock(shelf, "MUG", -3, "", None)
        await core.adjust_stock(shelf, "CAP", 5, "Cap", ("EUR", 500))
        for name in ("kept", "released"):
            await core.reserve_stock(shelf, name, str(uuid.uuid4()), [Line("MUG", 2), Line("CAP", 1)])
        released = await shelf.reservation("released")
        assert released is not None
        await core.release_stock(shelf, "released", released.order_id)

        assert await store.pieces(connection) == {"delivered": 12, "available": 9, "reserved": 3}


async def test_completed_orders_are_summed_up_by_currency(foundations: Foundations) -> None:
    async for database in opened(foundations, "orders"):
        for state, currency, money in (("COMPLETED", "EUR", 5), ("COMPLETED", "EUR", 7), ("CANCELLED", None, None)):
            await database.pool.execute(ORDER, state, currency, money)

        shown = {each.gauge.name: each.value for each in await orders.read_completed(database)}
        assert shown == {"shop.orders.completed.money": 12, "shop.orders.completed.pieces": 2 * (1 + 2)}


async def test_payments_are_summed_up_by_currency_and_state(foundations: Foundations) -> None:
    async for database in opened(foundations, "payment"):
        for number, state in enumerate(("CHARGED", "CHARGED", "REFUNDED", "DECLINED")):
            await database.pool.execute(PAYMENT, str(number), state)

        shown = {each.attributes["shop.payment.state"]: each.value for each in await payment.read_money(database)}
        assert shown == {"CHARGED": 200, "REFUNDED": 100, "CHARGING": 0, "REFUNDING": 0}


async def test_open_sagas_are_counted_by_state_with_those_that_nobody_can_run(sagas: Database) -> None:
    await lay(sagas, "RUNNING", count=3, owned=True)
    await lay(sagas, "RUNNING", count=2)
    await lay(sagas, "STUCK", count=1, version="gone")
    await lay(sagas, "UNWINDING", count=1, not_before="infinity")
    await lay(sagas, "SUCCEEDED", count=5)

    found = await metrics.read_open(sagas, [DEPLOYED])

    states = {each.attributes["saga.state"]: each.value for each in found if each.gauge == metrics.OPEN}
    ages = {each.attributes["saga.state"]: each.value for each in found if each.gauge == metrics.OLDEST}
    assert states == {"RUNNING": 5, "STUCK": 1, "UNWINDING": 1}
    assert ages["RUNNING"] == pytest.approx(600, abs=60)
    assert {each.gauge: each.value for each in found if not each.attributes} == {
        metrics.QUARANTINED: 1,
        metrics.BLOCKED: 1,
    }


@pytest.mark.parametrize("analyzed", [False, True])
async def test_counting_open_sagas_reads_none_that_has_ended(sagas: Database, analyzed: bool) -> None:
    await lay(sagas, "SUCCEEDED", count=40_000)
    await lay(sagas, "RUNNING", count=20, owned=True)
    await lay(sagas, "RUNNING", count=20)
    if analyzed:
        await sagas.pool.execute("ANALYZE saga")

    rows = await sagas.pool.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) {OPEN}", [DEPLOYED])

    plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan on saga" not in plan
    assert "Rows Removed by Filter" not in plan


ORDER = """
INSERT INTO orders
    (order_id, state, learned, choreographed, customer_id, skus, quantities, trace, currency, total_minor)
VALUES (gen_random_uuid(), $1, '{}', false, 'ada', '{MUG,CAP}', '{1,2}', '{}', $2, $3)
"""
PAYMENT = """
INSERT INTO payment (payment_id, order_id, state, currency, amount_minor, token, decline_code)
VALUES ($1, gen_random_uuid(), $2, 'EUR', 100, '', '')
"""
LAY = """
WITH replica AS (
    INSERT INTO replica VALUES (gen_random_uuid(), now() + '1 hour'::interval, 1, now()) RETURNING replica_id
)
INSERT INTO saga (saga_id, workflow, version, input, trace_context, state, owner, epoch, attempts, claimed_at,
                  not_before, created_at)
SELECT gen_random_uuid(), 'place_order', $3, '', '{}', $1, CASE WHEN $4 THEN replica_id END, 1, 1, 1,
       $5::text::timestamptz, now() - '10 minutes'::interval
FROM replica, generate_series(1, $2)
"""


async def lay(
    database: Database, state: str, count: int, *, owned: bool = False, version: str = DEPLOYED, not_before: str = "now"
) -> None:
    await database.pool.execute(LAY, state, count, version, owned, not_before)
