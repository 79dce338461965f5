import pytest
from google.protobuf.message import Message
from shop.customer.v1.customer_service_pb2 import PlaceOrderRequest
from shop.inventory.v1.inventory_service_pb2 import AdjustStockRequest
from shop.orders.v1.orders_service_pb2 import GetOrderRequest, ListOrdersRequest
from shop.type.v1.money_pb2 import Money
from shop.type.v1.purchase_pb2 import Item

from mesh.validation import violations
from tests.purchases import purchase


def broken(request: Message) -> dict[str, str]:
    return {each.field: each.description for each in violations(request)}


def place(**changes: object) -> PlaceOrderRequest:
    return PlaceOrderRequest(**{"request_id": "r-1", "mode": 1, "purchase": purchase(), **changes})  # type: ignore[arg-type]


def test_a_good_request_breaks_nothing() -> None:
    assert broken(place()) == {}


def test_each_bad_field_is_named_by_its_path() -> None:
    request = place(request_id="", mode=0)
    request.purchase.email = "nobody"
    request.purchase.items[0].quantity = 0
    request.purchase.ship_to.country = "Germany"

    assert set(broken(request)) == {
        "request_id",
        "mode",
        "purchase.email",
        "purchase.items[0].quantity",
        "purchase.ship_to.country",
    }


def test_a_missing_message_is_reported_once_and_not_looked_into() -> None:
    assert broken(PlaceOrderRequest(request_id="r-1", mode=1)) == {"purchase": "is required"}


@pytest.mark.parametrize("order_id", ["", "x", "0193A8B0-0000-7000-8000-000000000000", "0193a8b0" * 5, "\0"])
def test_an_id_that_is_no_canonical_uuid_is_refused(order_id: str) -> None:
    assert set(broken(GetOrderRequest(order_id=order_id))) == {"order_id"}


@pytest.mark.parametrize("request_id", ["a b", "a\n", "ä", "x" * 201, "a\0"])
def test_a_request_id_with_strange_characters_or_too_long_is_refused(request_id: str) -> None:
    assert set(broken(place(request_id=request_id))) == {"request_id"}


def test_the_same_sku_twice_is_refused() -> None:
    request = place()
    request.purchase.items.append(Item(sku="MUG-BLUE", quantity=2))

    assert broken(request) == {"purchase.items": "has two items with the same sku"}


def test_more_items_than_allowed_are_refused() -> None:
    request = place()
    request.purchase.items.extend(Item(sku=f"SKU-{n}", quantity=1) for n in range(100))

    assert broken(request) == {"purchase.items": "has 101 items; the most is 100"}


def test_an_enum_value_of_a_newer_contract_is_refused() -> None:
    assert set(broken(ListOrdersRequest(state=99))) == {"state"}  # type: ignore[arg-type]


def test_an_unset_optional_message_is_not_looked_into_but_a_set_one_is() -> None:
    assert broken(AdjustStockRequest(request_id="r", sku="A", delta=-1)) == {}
    bad = AdjustStockRequest(request_id="r", sku="A", price=Money(currency="euro", amount_minor=-1))
    assert set(broken(bad)) == {"price.currency", "price.amount_minor"}


def test_a_nul_character_is_refused_everywhere_because_postgres_cannot_store_it() -> None:
    request = place()
    request.purchase.ship_to.street = "a\0b"

    assert set(broken(request)) == {"purchase.ship_to.street"}
