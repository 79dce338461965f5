"""The fence: what an earlier owner of a saga still sends is refused, stores nothing and is told nothing."""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from shop.inventory.v1 import inventory_service_pb2 as pb
from shop.orders.v1.orders_facts_pb2 import OrderCreated

from mesh import fence
from mesh.errors import Kind, Refusal, refused
from mesh.fence import Fence
from mesh.postgres.database import Database, Transaction
from mesh.retention import HANDLED_DAYS, forget
from services.payment.outside import HttpGateway
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.outside import Outside, PaymentService, a_service
from tests.tables import tables

pytestmark = pytest.mark.integration

TABLES = tables("CREATE TABLE effect (request_id text PRIMARY KEY)")
SAGA = "0193a8b0-0000-7000-8000-000000000001"
OTHER_SAGA = "0193a8b0-0000-7000-8000-000000000002"

T = TypeVar("T")


@pytest.fixture
async def database(foundations: Foundations) -> AsyncGenerator[Database]:
    async with Database.open(await foundations.database(), "test", TABLES) as database:
        yield database


class Command:
    """A request, and work that can be held up before its end."""

    def __init__(self, database: Database, request_id: str) -> None:
        self._database = database
        self._request = pb.AdjustStockRequest(request_id=request_id, sku="A", delta=1)
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def once(self) -> pb.AdjustStockResponse:
        return await self._database.once(self._request, pb.AdjustStockResponse, self._work)

    async def refuse_once(self) -> pb.AdjustStockResponse:
        return await self._database.once(self._request, pb.AdjustStockResponse, _refuse)

    async def answered(self) -> pb.AdjustStockResponse | None:
        return await self._database.answered(self._request, pb.AdjustStockResponse)

    async def _work(self, tx: Transaction) -> pb.AdjustStockResponse:
        await tx.connection.execute("INSERT INTO effect VALUES ($1)", self._request.request_id)
        tx.announce(OrderCreated(order_id=self._request.request_id))
        self.begun.set()
        await self.go_on.wait()
        return pb.AdjustStockResponse()


async def _refuse(tx: Transaction) -> pb.AdjustStockResponse:
    raise refused("OUT_OF_STOCK", "none left", sku="A")


def by(epoch: int, call: Coroutine[Any, Any, T], saga_id: str = SAGA) -> "asyncio.Task[T]":
    """The call, as the server serves one that a saga's owner makes: in a task with a context of its own."""
    context = contextvars.copy_context()
    context.run(fence.current.set, Fence(saga_id, epoch))
    return asyncio.get_running_loop().create_task(call, context=context)


async def assert_stale(call: "asyncio.Task[Any]", epoch: int = 1, newest: int = 2) -> None:
    with pytest.raises(Refusal) as refusal:
        await call
    assert (refusal.value.kind, refusal.value.reason) == (Kind.ABORTED, "STALE_EPOCH")
    assert refusal.value.metadata == {"saga_id": SAGA, "epoch": str(epoch), "newest_epoch": str(newest)}


async def effects(database: Database) -> list[str]:
    """Of which requests there are effects. What is marked and what is announced is the same."""
    made = [row["request_id"] for row in await database.pool.fetch("SELECT request_id FROM effect ORDER BY 1")]
    marked = await database.pool.fetch("SELECT key FROM handled ORDER BY 1")
    announced = await database.pool.fetch("SELECT key FROM outbox ORDER BY 1")
    assert [row["key"] for row in marked] == [f"request/{request_id}" for request_id in made]
    assert [row["key"] for row in announced] == made
    return made


async def fences(database: Database) -> list[tuple[str, int]]:
    return [(str(row["saga_id"]), row["epoch"]) for row in await database.pool.fetch("SELECT * FROM fence")]


async def test_a_lower_epoch_is_refused_and_nothing_is_stored(database: Database) -> None:
    await by(2, Command(database, "new").once())

    await assert_stale(by(1, Command(database, "old").once()))
    await assert_stale(by(1, Command(database, "old").refuse_once()))
    await assert_stale(by(1, Command(database, "old").answered()))

    assert await effects(database) == ["new"]
    assert await fences(database) == [(SAGA, 2)]


async def test_equal_and_higher_epochs_are_served_and_announce(database: Database) -> None:
    for number, epoch in enumerate((1, 1, 2, 2, 7)):
        database.announced.clear()
        await by(epoch, Command(database, f"r-{number}").once())
        assert database.announced.is_set()

    assert await effects(database) == ["r-0", "r-1", "r-2", "r-3", "r-4"]
    await assert_stale(by(6, Command(database, "old").once()), 6, 7)


async def test_a_repeat_by_a_lower_epoch_is_not_told_the_answer(database: Database) -> None:
    done = Command(database, "done")  # its work would write the same row again
    await by(1, done.once())
    await by(1, Command(database, "r-1").once())
    await by(2, Command(database, "r-2").once())

    await assert_stale(by(1, done.once()))
    await assert_stale(by(1, done.refuse_once()))
    await assert_stale(by(1, done.answered()))
    assert await by(2, done.once()) == await by(2, done.answered()) == pb.AdjustStockResponse()


async def test_a_stored_refusal_is_told_to_the_new_owner_only(database: Database) -> None:
    for epoch in (1, 2):
        with pytest.raises(Refusal, match="none left"):
            await by(epoch, Command(database, "r-1").refuse_once())

    await assert_stale(by(1, Command(database, "r-1").refuse_once()))


async def test_asking_for_the_answer_shuts_the_older_owner_out(database: Database) -> None:
    assert await by(2, Command(database, "r-1").answered()) is None

    await assert_stale(by(1, Command(database, "r-1").once()))
    assert await effects(database) == []


async def test_a_saga_that_keeps_its_owner_leaves_no_row(database: Database) -> None:
    await by(1, Command(database, "r-1").answered())
    await by(1, Command(database, "r-1").once())

    assert await fences(database) == []


async def test_other_sagas_and_calls_and_facts_of_no_saga_are_not_fenced(database: Database) -> None:
    async def react(tx: Transaction) -> None:
        await tx.connection.execute("INSERT INTO effect VALUES ('a fact')")

    await by(2, Command(database, "r-1").once())

    await by(1, Command(database, "r-2").once(), OTHER_SAGA)
    await Command(database, "r-3").once()
    assert await Command(database, "r-3").answered() is not None
    assert await effects(database) == ["r-1", "r-2", "r-3"]
    await by(1, database.once_per_event("a_Created", "e-1", datetime.now(UTC))(react))
    assert await database.pool.fetchval("SELECT true FROM effect WHERE request_id = 'a fact'")


async def test_of_racing_epochs_the_lower_is_rolled_back_if_the_higher_commits_first(database: Database) -> None:
    old = Command(database, "old")
    old.go_on.clear()
    losing = by(1, old.once())
    await old.begun.wait()

    await by(2, Command(database, "new").once())
    old.go_on.set()

    await assert_stale(losing)
    assert await effects(database) == ["new"]


async def test_of_racing_epochs_both_are_served_if_the_lower_commits_first(database: Database) -> None:
    new = Command(database, "new")
    new.go_on.clear()
    winning = by(2, new.once())
    await new.begun.wait()

    await by(1, Command(database, "old").once())
    new.go_on.set()

    await winning
    assert await effects(database) == ["new", "old"]
    assert await fences(database) == [(SAGA, 2)]


@pytest.mark.parametrize("commits", [True, False])
async def test_raising_waits_for_whoever_is_raising_and_never_lowers(database: Database, commits: bool) -> None:
    async with database.pool.acquire() as connection:
        higher = connection.transaction()
        await higher.start()
        await connection.execute("INSERT INTO fence (saga_id, epoch) VALUES ($1, 3)", SAGA)
        doing, asking = by(2, Command(database, "r-1").once()), by(2, Command(database, "r-2").answered())
        await eventually(lambda: _two_wait(database))
        await by(1, Command(database, "r-0").once())  # nothing above it has been committed; it does not wait
        await (higher.commit() if commits else higher.rollback())

    if commits:
        await assert_stale(doing, 2, 3)
        await assert_stale(asking, 2, 3)
    else:
        await asyncio.gather(doing, asking)
    assert await effects(database) == (["r-0"] if commits else ["r-0", "r-1"])
    assert await fences(database) == [(SAGA, 3 if commits else 2)]


async def _two_wait(database: Database) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return await database.pool.fetchval(waiting) == 2


async def test_many_epochs_at_once_leave_the_highest(database: Database) -> None:
    calls = [by(epoch, Command(database, f"r-{epoch}").once()) for epoch in range(1, 21)]

    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(each, pb.AdjustStockResponse | Refusal) for each in outcomes)
    assert isinstance(outcomes[-1], pb.AdjustStockResponse)
    assert await fences(database) == [(SAGA, 20)]
    assert len(await effects(database)) == sum(isinstance(each, pb.AdjustStockResponse) for each in outcomes)


async def test_a_fence_is_kept_as_long_as_the_answers(database: Database) -> None:
    await by(2, Command(database, "r-1").once())
    await database.pool.execute("UPDATE fence SET raised_at = now() - make_interval(days => $1)", HANDLED_DAYS - 1)
    await forget(database)
    assert await fences(database) == [(SAGA, 2)]

    await database.pool.execute("UPDATE fence SET raised_at = now() - make_interval(days => $1)", HANDLED_DAYS + 1)
    await forget(database)
    assert await fences(database) == []


async def test_a_stale_charge_never_reaches_the_gateway(foundations: Foundations, outside: Outside) -> None:
    async with a_service(PaymentService, HttpGateway.open(outside.http_url), foundations) as payment:
        charging = by(2, payment.charge("tok_slow", payment_id="new"))
        await eventually(lambda: outside.rows("payments", "key") == ["new"])

        await assert_stale(by(1, payment.charge(request_id="do it", payment_id="old")))
        await charging
        await assert_stale(by(1, payment.charge("tok_slow", payment_id="new")))

        assert outside.rows("payments", "key") == ["new"]
        assert await payment.database.pool.fetchval("SELECT count(*) FROM payment") == 1
