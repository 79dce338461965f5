"""Requests that are right, for tests to use or to spoil."""

from shop.type.v1.purchase_pb2 import Address, Item, Purchase

BERLIN = Address(name="Ada", street="Unter den Linden 1", postcode="10115", city="Berlin", country="DE")


def purchase(sku: str = "MUG-BLUE", quantity: int = 1, token: str = "tok_visa", postcode: str = "10115") -> Purchase:
    """What a customer might ask for."""
    where = Address()
    where.CopyFrom(BERLIN)
    where.postcode = postcode
    return Purchase(
        customer_id="ada",
        email="ada@example.com",
        items=[Item(sku=sku, quantity=quantity)],
        payment_token=token,
        ship_to=where,
    )
