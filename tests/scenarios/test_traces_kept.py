"""`ensemble up` and whoever keeps its traces: an order's tag finds one trace, and everybody is in it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
from shop.customer.v1 import customer_service_pb2 as pb

from tests import shop as shop_
from tests.eventually import eventually
from tests.shop import Shop, state_of
from tests.traces_kept import BOTH, Keeper, asked, services_in

pytestmark = [pytest.mark.system, pytest.mark.own_shop]

Mode = pb.Mode.ValueType

TO_CHARGE = {"customer", "orders", "inventory", "payment", "sandbox"}
TO_SHIP = TO_CHARGE | {"shipping"}
TO_CONFIRM = TO_SHIP | {"notification"}


@dataclass(frozen=True)
class Traced:
    """A shop, and who keeps its traces."""

    shop: Shop
    keeper: Keeper

    async def services_of(self, order: pb.Order) -> set[str]:
        """Of the one trace that there is of an order; of none if nothing has been told yet."""
        found = await self.keeper.tagged("order.id", order.order_id)
        assert len(found) <= 1
        return services_in([part for trace_id in found for part in await self.keeper.trace(trace_id)])


@pytest.fixture(scope="module", params=BOTH)
async def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Traced]:
    plan = shop_.planned(tmp_path_factory.mktemp("kept"), request.param)
    async with shop_.opened(plan) as shop, asked(shop.stack.topology.traces) as keeper:
        yield Traced(shop, keeper)


@pytest.mark.parametrize(
    ("wanted", "ending", "takes_part"),
    [
        ({}, ("COMPLETED", "UNSPECIFIED"), TO_CONFIRM),
        ({"token": "tok_declined"}, ("CANCELLED", "PAYMENT_DECLINED"), TO_CHARGE),
        ({"postcode": "00000"}, ("CANCELLED", "SHIPPING_REFUSED"), TO_SHIP),
    ],
    ids=["completed", "declined", "carrier-refuses"],
)
async def test_an_order_is_one_trace_with_all_services_of_its_story(
    traced: Traced, mode: Mode, wanted: dict[str, str], ending: tuple[str, str], takes_part: set[str]
) -> None:
    order = await traced.shop.outcome(await traced.shop.place(mode, **wanted))

    assert state_of(order) == ending
    await told_by(traced, order, takes_part)


async def test_an_order_that_its_customer_cancels_is_one_trace_too(traced: Traced, mode: Mode) -> None:
    placed = await traced.shop.place(mode, token="tok_slow")
    await traced.shop.seen(placed, lambda order: any("reserve" in entry.event.lower() for entry in order.timeline))

    await traced.shop.cancel(placed)
    order = await traced.shop.outcome(placed)

    assert state_of(order) == ("CANCELLED", "CUSTOMER_REQUEST")
    # In a choreography Shipping is asked whether it is too late; a saga knows that it has not come so far.
    await told_by(traced, order, TO_SHIP if mode == pb.MODE_CHOREOGRAPHED else TO_CHARGE)


async def told_by(traced: Traced, order: pb.Order, takes_part: set[str]) -> None:
    """Wait until all of these have told of the order, and the orchestrator if it was asked; nobody else may have."""
    if order.mode == pb.MODE_ORCHESTRATED:
        takes_part = takes_part | {"orchestrator"}

    async def have_told() -> bool:
        return await traced.services_of(order) >= takes_part

    await eventually(have_told)
    assert await traced.services_of(order) == takes_part
