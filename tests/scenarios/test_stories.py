"""What became of an order can be told, whoever is down; and timelines can be told again."""

import asyncio
import json
import os
import signal
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from shop.customer.v1 import customer_service_pb2 as pb
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED
from shop.orders.v1.orders_service_pb2 import RebuildTimelinesRequest, RebuildTimelinesResponse

from mesh.events.bus import Bus
from mesh.identity import new_id
from tests import shop as shop_
from tests.eventually import eventually
from tests.quiet import is_quiet
from tests.shop import OwnShop, Shop, state_of

pytestmark = pytest.mark.system

PARTICIPANTS = ["orders", "inventory", "payment", "shipping", "notification"]
TIMELINES = "SELECT order_id, at, source, event, detail FROM timeline ORDER BY order_id, event"


@pytest.fixture(scope="module")
async def shop(given: Path | None, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Shop]:
    """What our own stands on will go down."""
    async with shop_.given_or_opened(given, shop_.planned(tmp_path_factory.mktemp("stories"))) as shop:
        yield shop


@pytest.fixture
async def operator(shop: Shop) -> AsyncGenerator[Bus]:
    """The broker, with all rights."""
    async with Bus.open(shop.state.nats_url, "operator") as bus:
        await bus.connected.wait()
        yield bus


@pytest.fixture
async def database(shop: Shop) -> AsyncGenerator[asyncpg.Connection]:
    """That of the Order service."""
    async with shop.database("orders") as database:
        yield database


async def ensemble(shop: Shop, *arguments: str) -> Process:
    """The command, started."""
    command = (sys.executable, "-m", "cli.main", *arguments, "--data", str(shop.data))
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)


async def told(shop: Shop, order: pb.Order) -> dict[str, Any]:
    """What `ensemble order show` says, for programs."""
    out, err = await (await ensemble(shop, "order", "show", order.order_id, "--json")).communicate()
    assert out, err.decode()
    return json.loads(out)


@contextmanager
def stopped(shop: OwnShop, *names: str) -> Generator[None]:
    """Processes that neither answer nor end, while open."""
    pids = [process.pid for process in shop.state.processes if process.name in names]
    assert len(pids) == len(names)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_the_story_of_an_order_names_everybody_who_did_something(shop: Shop, mode: pb.Mode.ValueType) -> None:
    order = await shop.outcome(await shop.place(mode, sku=await shop.stocked(1)))

    async def complete() -> bool:
        return (await told(shop, order))["awaited"] == []

    await eventually(complete)
    story = await told(shop, order)

    assert story["mode"] == {MODE_ORCHESTRATED: "orchestrated", MODE_CHOREOGRAPHED: "choreographed"}[mode]
    assert story["state"] in ("COMPLETED", "SUCCEEDED")
    assert {line["who"] for line in story["happened"]} - {"orchestrator"} == set(PARTICIPANTS)
    assert all(line["took_s"] is None or line["took_s"] > 0 for line in story["happened"])


@pytest.mark.own_shop
async def test_a_service_that_does_not_answer_is_awaited_by_name(shop: OwnShop, mode: pb.Mode.ValueType) -> None:
    sku = await shop.stocked(1)
    with stopped(shop, "payment"):
        placed = await shop.place(mode, sku=sku)

        async def reserved() -> bool:
            return [line["who"] for line in (await told(shop, placed))["awaited"]] == ["payment"]

        await eventually(reserved)
    order = await shop.outcome(placed)

    assert state_of(order)[0] == "COMPLETED"


@pytest.mark.own_shop
async def test_a_story_is_told_while_every_service_and_the_database_are_down(shop: OwnShop) -> None:
    order = await shop.outcome(await shop.place(MODE_CHOREOGRAPHED, sku=await shop.stocked(1), token="tok_declined"))

    with stopped(shop, "postgres", "sandbox", "customer", "orchestrator", *PARTICIPANTS):
        story = await told(shop, order)

    assert (story["state"], story["outcome"]) == ("CANCELLED", "PAYMENT_DECLINED")
    assert [line["what"] for line in story["happened"]] == [
        "OrderCreated",
        "InventoryReserved",
        "PaymentFailed",
        "InventoryReleased",
        "OrderCancelled",
    ]


async def test_a_fact_that_nobody_can_handle_is_told_as_a_dead_letter_of_each(shop: Shop, operator: Bus) -> None:
    order = await shop.outcome(await shop.place(MODE_CHOREOGRAPHED, sku=await shop.stocked(1)))
    subject = f"shop.payment.v1.PaymentProcessed.{order.order_id}"
    await operator.publish("SHOP_EVENTS", subject, b"\xff", {"ce-id": uuid.uuid4().hex, "ce-type": "gibberish"})

    async def buried() -> bool:
        awaited = (await told(shop, order))["awaited"]
        return [line["who"] for line in awaited if "dead letter" in line["why"]] == ["orders", "shipping"]

    await eventually(buried)


@pytest.mark.parametrize(
    ("down", "code", "complaint"),
    [
        pytest.param((), 1, "neither a fact nor a saga", id="nobody"),
        pytest.param(("nats",), 3, "NATS does not answer", id="broker", marks=pytest.mark.own_shop),
        pytest.param(("orchestrator",), 3, "orchestrator", id="orchestrator", marks=pytest.mark.own_shop),
    ],
)
async def test_of_an_order_that_is_not_found_it_is_told_who_could_not_be_asked(
    shop: OwnShop, down: tuple[str, ...], code: int, complaint: str
) -> None:
    with stopped(shop, *down):
        process = await ensemble(shop, "order", "show", new_id())
        _, err = await process.communicate()

    assert process.returncode == code
    assert complaint in err.decode()


@pytest.mark.own_shop
async def test_facts_are_followed_live_through_a_restart_of_the_broker(shop: OwnShop) -> None:
    sku = await shop.stocked(2)
    async with following(shop, "--json") as seen:
        first = await shop.outcome(await shop.place(MODE_CHOREOGRAPHED, sku=sku))
        await eventually(lambda: "OrderCompleted" in names(seen, first))
        await shop.end("nats", signal.SIGKILL)
        second = await shop.outcome(await shop.place(MODE_CHOREOGRAPHED, sku=sku))
        await eventually(lambda: "OrderCompleted" in names(seen, second))

    for order in (first, second):
        assert names(seen, order)[:4] == ["OrderCreated", "InventoryReserved", "PaymentProcessed", "OrderShipped"]


@asynccontextmanager
async def following(shop: Shop, *options: str) -> AsyncGenerator[list[dict[str, Any]]]:
    """What `ensemble events tail` prints, from the last minute on, until Ctrl-C."""
    process = await ensemble(shop, "events", "tail", "--since", "1m", *options)
    seen: list[dict[str, Any]] = []
    reading = asyncio.ensure_future(_read(process, seen.append))
    yield seen
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
    await reading


async def _read(process: Process, keep: Callable[[dict[str, Any]], None]) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        keep(json.loads(line))


def names(seen: list[dict[str, Any]], order: pb.Order) -> list[str]:
    return [each["type"].rpartition(".")[2] for each in seen if each["key"] == order.order_id]


async def rebuild(shop: Shop, order_id: str = "") -> RebuildTimelinesResponse:
    """Rebuild to the end. Returns the sums."""
    done = RebuildTimelinesResponse()
    while True:
        request = RebuildTimelinesRequest(
            request_id=uuid.uuid4().hex, order_id=order_id, page_token=done.next_page_token
        )
        part = await shop.orders.RebuildTimelines(request)
        done.facts += part.facts
        done.orders += part.orders
        done.entries_written += part.entries_written
        done.next_page_token = part.next_page_token
        if not part.next_page_token:
            return done


async def every_way_to_end(shop: Shop, operator: Bus) -> list[pb.Order]:
    """Orders of both modes that have ended, and of which everything has been learned."""
    sku = await shop.stocked(100)
    ways: list[dict[str, Any]] = [{}, {"token": "tok_declined"}, {"postcode": "00000"}, {"quantity": 101}]
    modes = (MODE_CHOREOGRAPHED, MODE_ORCHESTRATED)
    placed = [await shop.place(mode, sku=sku, **way) for way in ways for mode in modes]
    slow = await shop.place(MODE_CHOREOGRAPHED, sku=sku, token="tok_slow")
    await shop.cancel(slow)
    ended = await asyncio.gather(*(shop.outcome(order) for order in (*placed, slow)))
    await eventually(lambda: is_quiet(shop, operator))
    return list(ended)


async def test_timelines_that_are_lost_are_told_again_by_the_stream(
    shop: Shop, operator: Bus, database: asyncpg.Connection
) -> None:
    await every_way_to_end(shop, operator)
    before = await database.fetch(TIMELINES)
    choreographed = {row["order_id"] for row in await database.fetch("SELECT order_id FROM orders WHERE choreographed")}
    theirs = [row for row in before if row["order_id"] in choreographed]
    await database.execute("DELETE FROM timeline WHERE order_id = ANY($1)", list(choreographed))

    done = await rebuild(shop)

    assert await database.fetch(TIMELINES) == before
    assert (done.orders, done.entries_written) == (len(choreographed), len(theirs))
    out, _ = await (await ensemble(shop, "order", "rebuild", "--json")).communicate()
    assert json.loads(out) == {"facts": done.facts, "orders": done.orders, "entries_written": 0, "next_page_token": ""}


async def test_one_timeline_is_set_right_and_the_others_are_left_alone(
    shop: Shop, operator: Bus, database: asyncpg.Connection
) -> None:
    one, _, other, *_ = await every_way_to_end(shop, operator)
    before = await database.fetch(TIMELINES)
    spoilt = "UPDATE timeline SET at = at + $1, detail = 'wrong' WHERE order_id = ANY($2)"
    await database.execute(spoilt, timedelta(seconds=1), [one.order_id, other.order_id])

    done = await rebuild(shop, one.order_id)

    after = await database.fetch(TIMELINES)
    assert [row for row in after if str(row["order_id"]) == one.order_id] == [
        row for row in before if str(row["order_id"]) == one.order_id
    ]
    assert {row["detail"] for row in after if str(row["order_id"]) == other.order_id} == {"wrong"}
    assert done.orders == 1
    await rebuild(shop, other.order_id)
    assert await database.fetch(TIMELINES) == before


async def test_a_timeline_that_a_saga_tells_is_not_rebuilt(shop: Shop) -> None:
    order = await shop.outcome(await shop.place(MODE_ORCHESTRATED, sku=await shop.stocked(1)))

    with pytest.raises(Exception, match="belongs to a saga"):
        await rebuild(shop, order.order_id)
