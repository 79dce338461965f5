"""The orders that are placed, and what both clients do around each one."""

import itertools
from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import trace
from shop.type.v1.purchase_pb2 import Address, Item, Purchase
from shop.workflow.v1.place_order_pb2 import PlaceOrder

from cli.stack.catalogue import ARTICLES, PLENTY
from mesh import telemetry
from mesh.identity import new_id

tracer = trace.get_tracer("ensemble.benchmarks")

SKUS = itertools.cycle(article.sku for article in ARTICLES if article.pieces == PLENTY)
"""In turn, so that not all orders wait for the row of one article."""


def new_order() -> PlaceOrder:
    """An order that nothing speaks against."""
    address = Address(name="Ada Lovelace", street="Invalidenstr. 1", postcode="10115", city="Berlin", country="DE")
    purchase = Purchase(
        customer_id="ada",
        email="ada@example.com",
        items=[Item(sku=next(SKUS), quantity=1)],
        payment_token="tok_visa",  # noqa: S106 - the sandbox's word for a card that is good
        ship_to=address,
    )
    return PlaceOrder(order_id=new_id(), purchase=purchase)


@contextmanager
def story(order: PlaceOrder) -> Generator[None]:
    """One order is one trace, and its words travel along, as if the front door had accepted it."""
    words = telemetry.story(order__id=order.order_id, shop__mode="orchestrated")
    with tracer.start_as_current_span("order"), words:
        yield
