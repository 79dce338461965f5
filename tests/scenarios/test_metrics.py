"""What a running shop measures is what docs/metrics.md says, and so what alerts and dashboards ask for."""

import asyncio
import re
import signal
from typing import Any

import pytest
from shop.customer.v1 import customer_service_pb2 as pb

from tests.documented import Metric, metrics
from tests.eventually import eventually
from tests.points import Point
from tests.shop import OwnShop, Shop, state_of
from tests.spans import Collector

pytestmark = [pytest.mark.system, pytest.mark.own_shop]

MODES = (pb.MODE_ORCHESTRATED, pb.MODE_CHOREOGRAPHED)
DOCUMENTED = metrics()
ONLY_OF_FAILURES = {"error.type"}
NAMES_SOMEBODY = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}|@|tok_|TEST-|\d{5,}", re.IGNORECASE)
"""An id, an address, a card, an item."""
STOCK = "shop.stock.pieces"
MOST = 200
"""Combinations of a metric's attributes in one process."""


@pytest.fixture(scope="module")
async def measured(shop: Shop, collector: Collector) -> list[Point]:
    """The points of a shop that has had orders of both modes and all outcomes, once all have been seen."""
    sku = await shop.stocked(10)
    wishes: list[dict[str, Any]] = [{}, {"token": "tok_chargeDeclined"}, {"postcode": "00000"}, {"quantity": 1000}]
    placed = [await shop.place(mode, sku=sku, **wish) for mode in MODES for wish in wishes]
    orders = await asyncio.gather(*(shop.outcome(order) for order in placed))
    assert {state_of(order)[0] for order in orders} == {"COMPLETED", "CANCELLED"}

    await eventually(lambda: DOCUMENTED.keys() <= {point.metric for point in collector.points})
    await eventually(lambda: finished(collector.points) >= len(orders))
    return collector.points


def finished(points: list[Point]) -> float:
    """How many orders have ended, in all modes and ways."""
    last = {str(sorted(each.attributes.items())): each.value for each in points if each.metric == "shop.order.duration"}
    return sum(last.values())


def test_a_shop_measures_what_is_documented_and_nothing_else(measured: list[Point]) -> None:
    kinds = {point.metric: (point.kind, point.unit) for point in measured}

    said = {metric.name: (metric.kind.replace("counter", "sum"), metric.unit) for metric in DOCUMENTED.values()}
    assert kinds == said


@pytest.mark.parametrize("metric", DOCUMENTED.values(), ids=lambda metric: metric.name)
def test_a_metric_has_the_attributes_that_are_documented(measured: list[Point], metric: Metric) -> None:
    attributes = {name for point in measured if point.metric == metric.name for name in point.attributes}

    assert metric.attributes - ONLY_OF_FAILURES <= attributes <= metric.attributes


def test_no_attribute_of_a_metric_names_an_order_a_person_or_a_card(measured: list[Point]) -> None:
    values = {value for point in measured for value in point.attributes.values()}

    assert [value for value in values if NAMES_SOMEBODY.search(value)] == []


def test_no_metric_has_too_many_combinations_of_attributes(measured: list[Point]) -> None:
    combinations: dict[tuple[str, str], set[str]] = {}
    for point in measured:
        combinations.setdefault((point.instance, point.metric), set()).add(str(sorted(point.attributes.items())))

    assert {key: len(found) for key, found in combinations.items() if len(found) > MOST} == {}


def test_stock_is_all_there_whenever_it_is_read(measured: list[Point]) -> None:
    states = [(point.attributes["shop.stock.state"], point.value) for point in measured if point.metric == STOCK]
    readings = [dict(states[first : first + 3]) for first in range(0, len(states), 3)]

    assert [each for each in readings if each["available"] + each["reserved"] != each["delivered"]] == []


@pytest.mark.parametrize("mode", MODES, ids=["orchestrated", "choreographed"])
async def test_a_bucket_leads_to_the_trace_of_an_order(
    shop: Shop, collector: Collector, mode: pb.Mode.ValueType
) -> None:
    order = await shop.outcome(await shop.place(mode, sku=await shop.stocked(1)))
    await eventually(lambda: bool(collector.of_order(order.order_id)))
    trace_id = collector.of_order(order.order_id)[0].trace_id

    examined = {"rpc.server.call.duration", "rpc.client.call.duration", "shop.order.duration"}
    examined |= {"messaging.process.duration"} if mode == pb.MODE_CHOREOGRAPHED else {"ensemble.saga.duration"}
    await eventually(lambda: examined <= {point.metric for point in collector.points if trace_id in point.exemplars})


async def test_a_saga_that_is_taken_over_from_a_killed_replica_is_counted(shop: OwnShop, collector: Collector) -> None:
    placed = await shop.place(pb.MODE_ORCHESTRATED, sku=await shop.stocked(1), token="tok_slow")
    await shop.seen(placed, lambda order: any("reserve" in entry.event.lower() for entry in order.timeline))
    await shop.end("orchestrator", signal.SIGKILL)
    await shop.outcome(placed)

    await eventually(lambda: any(point.metric == "ensemble.saga.adopted" and point.value for point in collector.points))
