"""The orders that are placed, and what each client does around each one."""

import itertools
from collections.abc import Generator
from contextlib import contextmanager

from ensemble.orchestrator.v1.orchestrator_service_pb2 import StartSagaRequest
from opentelemetry import trace
from shop.customer.v1.customer_service_pb2 import MODE_ORCHESTRATED
from shop.orders.v1.orders_service_pb2 import SubmitOrderRequest
from shop.workflow.v1.place_order_pb2 import PlaceOrder

from cli.load import Load
from cli.stack.catalogue import ARTICLES, PLENTY
from mesh.identity import new_id
from mesh.telemetry import tracing

tracer = trace.get_tracer("ensemble.benchmarks")

SKUS = itertools.cycle(article.sku for article in ARTICLES if article.pieces == PLENTY)
"""In turn, so that not all orders wait for the row of one article."""


def new_order() -> PlaceOrder:
    """An order that nothing speaks against."""
    purchase = Load("", (MODE_ORCHESTRATED,), sku=next(SKUS)).request(0).purchase
    return PlaceOrder(order_id=new_id(), purchase=purchase)


def start_request(order: PlaceOrder) -> StartSagaRequest:
    """Starts it as a saga, past the front door."""
    request = StartSagaRequest(request_id=order.order_id, saga_id=order.order_id, workflow="place_order")
    request.input.Pack(order)
    return request


def submit_request(order: PlaceOrder) -> SubmitOrderRequest:
    """Begins its choreography, past the front door."""
    return SubmitOrderRequest(request_id=order.order_id, order_id=order.order_id, purchase=order.purchase)


@contextmanager
def story(order: PlaceOrder, mode: str) -> Generator[None]:
    """One order is one trace, and its words travel along, as if the front door had accepted it."""
    with tracing.story(order__id=order.order_id, shop__mode=mode), tracer.start_as_current_span("order"):
        yield
