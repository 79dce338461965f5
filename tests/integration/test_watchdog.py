"""The watchdog: orders that stall are cancelled once, and an undoing that gets nowhere is reported."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from structlog.testing import capture_logs

from mesh.postgres.database import Database
from mesh.postgres.migrations.files import Migrations
from services.orders import store
from services.orders.rpc import cancel_overdue, report_not_undone
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

REPLICAS = 3
STALLED = 500
CROWD = 10_000
"""Of orders in each state that the watchdog has nothing to do with."""

LAY = """
INSERT INTO orders (order_id, choreographed, customer_id, skus, quantities, state, reason, learned, trace, due_at)
SELECT gen_random_uuid(), true, 'ada', '{MUG}', '{1}', $1, $2, $3, '{}', now() + make_interval(secs => $4)
FROM generate_series(1, $5)
"""
REQUESTED = """
SELECT count(*), count(DISTINCT key) FROM outbox WHERE subject LIKE 'shop.orders.v1.OrderCancelRequested.%'
"""
STATES = "SELECT state, count(*) FROM orders GROUP BY state"
LATE = "UPDATE orders SET due_at = now() - interval '1 second'"


@pytest.fixture
async def replicas(foundations: Foundations) -> AsyncGenerator[list[Database]]:
    """Of the Order service: each has connections of its own to the same database."""
    url, migrations = await foundations.database(), Migrations.of("services.orders")
    async with (
        Database.open(url, "orders", migrations) as one,
        Database.open(url, "orders", migrations) as two,
        Database.open(url, "orders", migrations) as three,
    ):
        yield [one, two, three]


async def lay(database: Database, number: int, state: str = "PENDING", due_in: float = -1, learned: str = "") -> None:
    reason = "TIMED_OUT" if state in ("CANCELLING", "CANCELLED") else None
    await database.pool.execute(LAY, state, reason, learned.split(), due_in, number)


async def requested(database: Database) -> tuple[int, int]:
    """How many cancels were asked for, and for how many orders."""
    ((cancels, orders),) = await database.pool.fetch(REQUESTED)
    return cancels, orders


async def test_replicas_find_all_stalled_orders_at_once_and_cancel_each_once(replicas: list[Database]) -> None:
    await lay(replicas[0], STALLED)
    await lay(replicas[0], 50, due_in=60)

    await asyncio.gather(*(cancel_overdue(replica) for replica in replicas))

    assert await requested(replicas[0]) == (STALLED, STALLED)
    assert {tuple(row) for row in await replicas[0].pool.fetch(STATES)} == {("CANCELLING", STALLED), ("PENDING", 50)}


async def test_what_a_killed_replica_was_at_is_found_by_the_others(replicas: list[Database]) -> None:
    await lay(replicas[0], STALLED)
    killed, *others = (asyncio.ensure_future(cancel_overdue(replica)) for replica in replicas)

    await replicas[0].announced.wait()
    killed.cancel()
    await asyncio.gather(killed, *others, return_exceptions=True)
    await cancel_overdue(replicas[1])

    assert killed.cancelled()
    assert await requested(replicas[1]) == (STALLED, STALLED)


async def test_an_undoing_that_gets_nowhere_is_reported_once_in_a_while(replicas: list[Database]) -> None:
    await lay(replicas[0], 1, "CANCELLING", learned="InventoryReleased InventoryReserved ShipmentCancelled")

    with capture_logs() as logs:
        await asyncio.gather(*(report_not_undone(replica) for replica in replicas))
        await report_not_undone(replicas[0])
    (line,) = logs
    assert (line["log_level"], line["event"], line["reason"]) == ("error", "order_not_undone", "TIMED_OUT")
    assert line["awaited"] == ["PaymentRefunded"]

    await replicas[0].pool.execute(LATE)
    with capture_logs() as logs:
        await report_not_undone(replicas[0])
    assert len(logs) == 1


async def test_an_undoing_that_has_just_begun_is_not_reported(replicas: list[Database]) -> None:
    await lay(replicas[0], 1)

    with capture_logs() as logs:
        await cancel_overdue(replicas[0])
        await report_not_undone(replicas[0])

    assert logs == []


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize(
    ("query", "arguments", "index"),
    [(store.DUE, [], "orders_due"), (store.NOT_UNDONE, [store.PATIENCE], "orders_not_undone")],
)
async def test_the_watchdog_looks_at_no_order_that_is_not_late(
    replicas: list[Database], query: str, arguments: list[object], index: str, analyzed: bool
) -> None:
    for state in ("PENDING", "CANCELLING", "COMPLETED"):
        await lay(replicas[0], CROWD, state, due_in=60 if state != "COMPLETED" else -60)
    if analyzed:
        await replicas[0].pool.execute("ANALYZE orders")

    rows = await replicas[0].pool.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) {query}", *arguments)

    plan = "\n".join(row[0] for row in rows)
    assert index in plan
    assert "Seq Scan on orders" not in plan
    assert "Rows Removed by Filter" not in plan
