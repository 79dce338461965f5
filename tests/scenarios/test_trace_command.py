"""`ensemble trace`, as a person uses it, whoever keeps the traces."""

import asyncio
import json
import sys
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from shop.customer.v1 import customer_service_pb2 as pb

from cli.stack.ports import HOST, free_port_base
from cli.stack.traces import Choice
from mesh.identity import new_id
from tests import shop as shop_
from tests.eventually import eventually
from tests.purchases import purchase
from tests.shop import Shop
from tests.traces_kept import BOTH

pytestmark = pytest.mark.system

Mode = pb.Mode.ValueType

CARRIER_REFUSES = {
    pb.MODE_ORCHESTRATED: (
        "StartSaga",
        "step create_order",
        "step reserve_stock",
        "step process_payment",
        "step create_shipment",
        "refused NO_SERVICE_AREA",
        "undo process_payment",
        "undo reserve_stock",
        "undo create_order",
        "saga place_order",
    ),
    pb.MODE_CHOREOGRAPHED: (
        "SubmitOrder → OrderCreated",
        "OrderCreated → InventoryReserved",
        "InventoryReserved → PaymentProcessed",
        "PaymentProcessed → ShippingFailed",
        "refused NO_SERVICE_AREA",
        "ShippingFailed → InventoryReleased (undo)",
        "ShippingFailed → PaymentRefunded (undo)",
        "→ OrderCancelled (undo)",
    ),
}
"""What a person must find in the picture of such an order."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    out: str
    err: str


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each of ours keeps the traces, in turn; a given shop has its own keeper."""
    if "keeper" in metafunc.fixturenames:
        given = metafunc.config.getoption("shop")
        metafunc.parametrize("keeper", [pytest.param(None, id="given")] if given else BOTH, scope="module")


@pytest.fixture(scope="module")
async def shop(keeper: Choice, given: Path | None, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Shop]:
    """One whose traces are kept."""
    async with shop_.given_or_opened(given, shop_.planned(tmp_path_factory.mktemp("traced"), keeper)) as shop:
        if shop.state.traces_query is None:
            pytest.skip("the shop that --shop names does not say where its traces can be read")
        yield shop


async def trace(shop: Shop, *arguments: str) -> Ended:
    command = (sys.executable, "-m", "cli.main", "trace", *arguments, "--data", str(shop.data))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    return Ended(process.returncode, out.decode(), err.decode())


async def refused(shop: Shop, mode: Mode) -> str:
    """The id of an order that the carrier refuses, once its trace has all that there is to see."""
    order = await shop.outcome(await shop.place(mode, postcode="00000"))

    async def is_told() -> bool:
        picture = (await trace(shop, order.order_id)).out
        return "lost:" not in picture and all(each in picture for each in CARRIER_REFUSES[mode])

    await eventually(is_told)
    return order.order_id


async def test_an_order_is_drawn_with_what_failed_and_what_was_undone(shop: Shop, mode: Mode) -> None:
    order_id = await refused(shop, mode)

    picture = (await trace(shop, order_id)).out

    assert order_id in picture
    assert "CANCELLED after" in picture
    assert "NO_SERVICE_AREA" in picture.splitlines()[1]


async def test_both_modes_are_compared(shop: Shop) -> None:
    one, other = [await refused(shop, mode) for mode in (pb.MODE_ORCHESTRATED, pb.MODE_CHOREOGRAPHED)]

    compared = (await trace(shop, one, "--compare", other)).out

    assert compared.index(one) < compared.index(other)
    assert [line.split()[:2] for line in compared.splitlines()[-2:]] == [
        ["orchestrated", "CANCELLED"],
        ["choreographed", "CANCELLED"],
    ]


async def test_programs_and_jaegers_pages_get_every_span(shop: Shop, mode: Mode, tmp_path: Path) -> None:
    order_id = await refused(shop, mode)
    file = tmp_path / "trace.json"

    ended = await trace(shop, order_id, "--json", "--export", str(file))  # at once: spans may still be coming

    spans = [json.loads(line) for line in ended.out.splitlines()]
    exported: dict[str, Any] = json.loads(file.read_text())

    (found,) = exported["data"]
    assert {each["spanID"] for each in found["spans"]} == {each["span_id"] for each in spans}
    assert {each["attributes"].get("order.id") for each in spans} == {order_id}
    assert json.loads((await trace(shop, order_id, "--export", "-")).out)["data"]


async def test_a_picture_can_be_put_into_a_document(shop: Shop, mode: Mode, tmp_path: Path) -> None:
    path = tmp_path / "order.svg"

    ended = await trace(shop, await refused(shop, mode), "--svg", str(path))

    assert (ended.code, ended.out) == (0, "")
    picture = path.read_text()
    assert picture.startswith("<svg")
    assert picture.endswith("</svg>\n")


@pytest.mark.parametrize("order_id", [new_id(), str(uuid.uuid4())], ids=["of this second", "of no time"])
async def test_an_order_that_is_not_there_is_told_from_one_without_a_trace(shop: Shop, order_id: str) -> None:
    ended = await trace(shop, order_id)

    assert (ended.code, ended.out) == (1, "")
    assert "ORDER_NOT_FOUND" in ended.err


async def test_an_order_that_was_not_sampled_is_told_from_one_that_is_not_there(shop: Shop, mode: Mode) -> None:
    request = pb.PlaceOrderRequest(request_id=uuid.uuid4().hex, mode=mode, purchase=purchase())
    unsampled = ("traceparent", f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00")
    order = (await shop.customers.PlaceOrder(request, metadata=(unsampled,))).order
    await shop.outcome(order)

    ended = await trace(shop, order.order_id)

    assert (ended.code, ended.out) == (1, "")
    assert "has no trace: it was not sampled" in ended.err


async def test_of_a_client_s_trace_with_several_orders_only_the_one_is_shown(shop: Shop, mode: Mode) -> None:
    shared = ("traceparent", f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01")
    requests = [pb.PlaceOrderRequest(request_id=uuid.uuid4().hex, mode=mode, purchase=purchase()) for _ in range(2)]
    one, other = [(await shop.customers.PlaceOrder(each, metadata=(shared,))).order for each in requests]

    async def is_told() -> bool:
        return all([(await trace(shop, each.order_id)).code == 0 for each in (one, other)])

    await eventually(is_told)

    assert other.order_id not in (await trace(shop, one.order_id, "--json")).out


async def test_who_does_not_answer_is_named_with_what_to_do(shop: Shop) -> None:
    nobody = f"http://{HOST}:{free_port_base()}"

    ended = await trace(shop, new_id(), "--traces", nobody)

    assert ended.code == 3
    assert nobody in ended.err
    assert "ensemble up" in ended.err


async def test_who_answers_something_else_is_named(shop: Shop) -> None:
    ended = await trace(shop, new_id(), "--traces", f"{shop.state.sandbox_url}/ledger?")

    assert ended.code == 3
    assert "not the query API" in ended.err


async def test_what_is_no_id_is_wrong_usage(shop: Shop) -> None:
    assert (await trace(shop, "the-last-one")).code == 2
