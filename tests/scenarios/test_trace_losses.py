"""A process that is killed takes along the spans that it has not ended: the trace lacks these, and no others."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress

import grpc
import pytest
from shop.customer.v1 import customer_service_pb2 as pb
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED

from benchmarks.evidence import Evidence
from benchmarks.victim import Victim
from cli.stack.layout import Layout, label
from cli.stack.local import Plan
from cli.stack.ports import free_port_base
from tests.eventually import eventually
from tests.lost import Lost
from tests.stage import Stage

pytestmark = [pytest.mark.system, pytest.mark.own_shop]

REPLICAS = 2
"""Of the orchestrator: when one is killed, the other goes on."""

ATTEMPT = Lost(
    service="orchestrator",
    spans=(
        ("step place_order/process_payment", "INTERNAL"),
        ("shop.payment.v1.PaymentService/ProcessPayment", "CLIENT"),
    ),
    below="saga place_order",
    above="shop.payment.v1.PaymentService/ProcessPayment",
)
"""By an orchestrator that waited for Payment."""
REACTION = Lost(
    service="payment",
    spans=(("process shop.inventory.v1.InventoryReserved.*", "CONSUMER"), ("PUT /v1/payments/{payment_id}", "CLIENT")),
    below="create shop.inventory.v1.InventoryReserved.*",
    above="PUT /v1/payments/{key}",
)
"""By a payment service that waited for the gateway."""
PLACED = Lost(
    service="customer",
    spans=(("shop.customer.v1.CustomerService/PlaceOrder", "SERVER"),),
    below="",
    above="hand over again",
)
"""By a front door that tried to hand the order over; and below it the call that did so, of which nothing tells."""
FULFILS = {
    MODE_ORCHESTRATED: [label("orchestrator", number) for number in range(REPLICAS)],
    MODE_CHOREOGRAPHED: ["orders"],
}
"""To whom the front door hands an order over."""


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage]:
    """A shop of its own: its processes will die."""
    layout = Layout(free_port_base(span=100 * REPLICAS), {"orchestrator": REPLICAS})
    async with Stage.open(Plan(tmp_path_factory.mktemp("losses"), layout)) as stage:
        yield stage


async def test_an_orchestrator_that_is_killed_takes_an_attempt_along_and_another_repeats_it(stage: Stage) -> None:
    placed = await stage.shop.place(MODE_ORCHESTRATED, sku=await stage.shop.stocked(1), token="tok_slow")
    owner = await owner_of(stage, placed)
    await stage.reported(placed, "append place_order", 2)
    await stage.charged(placed)

    await stage.shop.end(label("orchestrator", owner), signal.SIGKILL)

    await stage.expect("orchestrator_killed", await stage.shop.outcome(placed), ATTEMPT)


async def test_a_participant_that_is_killed_takes_a_reaction_along_and_reacts_again(stage: Stage) -> None:
    placed = await stage.shop.place(MODE_CHOREOGRAPHED, sku=await stage.shop.stocked(1), token="tok_slow")
    await stage.charged(placed)

    await stage.shop.end("payment", signal.SIGKILL)

    await stage.expect("payment_killed", await stage.shop.outcome(placed), REACTION)


async def test_a_front_door_that_is_killed_takes_the_root_along_and_hands_over_in_the_same_trace(
    stage: Stage, mode: pb.Mode.ValueType
) -> None:
    newest = "SELECT order_id::text FROM placed WHERE handed_over_at IS NULL"
    async with AsyncExitStack() as away:
        for name in FULFILS[mode]:
            await away.enter_async_context(stage.shop.without(name))
        placing = asyncio.ensure_future(stage.shop.place(mode, sku=await stage.shop.stocked(1)))

        async def accepted() -> bool:
            return await stage.query("customer", newest) is not None

        await eventually(accepted)
        placed = pb.Order(order_id=await stage.query("customer", newest), mode=mode)
        await stage.shop.end("customer", signal.SIGKILL)
    with suppress(grpc.aio.AioRpcError):
        await placing

    await stage.expect("front_door_killed", await stage.shop.outcome(placed), PLACED)


async def owner_of(stage: Stage, order: pb.Order) -> int:
    """The number of the replica that runs an order's saga."""
    async with Evidence.open(stage.shop.state) as evidence:
        owner = await evidence.first_owner(order.order_id)
        victims = [Victim(stage.shop.stack, number) for number in range(REPLICAS)]
        (number,) = [victim.number for victim in victims if await victim.replica_id(evidence) == owner]
        return number
