"""One order is one trace, in both modes, through calls, the outbox, the broker and back."""

import uuid
from collections.abc import Iterable

import pytest
from shop.customer.v1 import customer_service_pb2 as pb

from tests.eventually import eventually
from tests.purchases import purchase
from tests.scenarios.conftest import Collector
from tests.shop import Shop
from tests.spans import Span

pytestmark = pytest.mark.system

Mode = pb.Mode.ValueType

PARTICIPANTS = {"customer", "orders", "inventory", "payment", "shipping", "notification", "sandbox"}
REACTIONS = {pb.MODE_ORCHESTRATED: 0, pb.MODE_CHOREOGRAPHED: 8}
"""Of an order that is fulfilled: one each by Inventory, Payment, Shipping and Notification, four by Order."""


async def traced(shop: Shop, collector: Collector, mode: Mode) -> list[Span]:
    """All spans of a new order, once everybody has reported."""
    order = await shop.outcome(await shop.place(mode, sku=await shop.stocked(1)))

    def reported() -> bool:
        spans = collector.of_order(order.order_id)
        ids = {span.span_id for span in spans}
        roots = [span for span in spans if span.parent_id not in ids]
        everybody = {span.service for span in spans} >= PARTICIPANTS
        return everybody and len(roots) == 1 and len(reactions(spans)) == REACTIONS[mode]

    await eventually(reported)
    return collector.of_order(order.order_id)


def reactions(spans: Iterable[Span]) -> list[Span]:
    return [span for span in spans if span.name.startswith("process ")]


async def test_an_order_is_one_connected_trace_with_everybody_in_it(
    shop: Shop, collector: Collector, mode: Mode
) -> None:
    spans = await traced(shop, collector, mode)

    assert len({span.trace_id for span in spans}) == 1
    orchestrated = mode == pb.MODE_ORCHESTRATED
    assert ("orchestrator" in {span.service for span in spans}) == orchestrated
    assert {span.attributes["shop.mode"] for span in spans} == {"orchestrated" if orchestrated else "choreographed"}
    (root,) = [span for span in spans if span.parent_id not in {each.span_id for each in spans}]
    assert root.name == "shop.customer.v1.CustomerService/PlaceOrder"


async def test_a_reaction_is_child_of_and_linked_to_the_fact_that_caused_it(shop: Shop, collector: Collector) -> None:
    spans = {span.span_id: span for span in await traced(shop, collector, pb.MODE_CHOREOGRAPHED)}

    for reaction in reactions(spans.values()):
        assert reaction.links == (reaction.parent_id,)
        kind = reaction.name.removeprefix("process ").removesuffix(".*")
        assert spans[reaction.parent_id].name == f"create {kind}"


async def test_the_answer_says_which_trace_to_look_at(shop: Shop, collector: Collector, mode: Mode) -> None:
    sku = await shop.stocked(1)
    request = pb.PlaceOrderRequest(request_id=uuid.uuid4().hex, mode=mode, purchase=purchase(sku=sku))

    call = shop.customers.PlaceOrder(request)
    order = (await call).order
    trace_id = dict(await call.trailing_metadata())["trace-id"]

    await eventually(lambda: {span.trace_id for span in collector.of_order(order.order_id)} == {trace_id})
