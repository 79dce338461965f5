import pytest
from ensemble.mesh.v1 import command_pb2
from shop.inventory.v1.inventory_service_pb2 import ReserveStockRequest
from shop.orders.v1.orders_facts_pb2 import OrderCreated

from mesh import contract


def test_a_method_says_how_it_is_undone_how_long_it_takes_and_whether_to_repeat_it() -> None:
    method = contract.method("/shop.inventory.v1.InventoryService/ReserveStock")

    assert method.undo == "shop.inventory.v1.InventoryService/ReleaseStock"
    assert method.deadline == 2
    assert method.retry == command_pb2.RETRY_LIMITED
    assert not method.read_only


def test_an_unknown_method_is_an_error() -> None:
    with pytest.raises(KeyError):
        contract.method("/shop.inventory.v1.InventoryService/StealStock")


def test_a_fact_knows_its_stream_and_its_subject() -> None:
    fact = contract.fact(OrderCreated)

    assert fact.stream == "SHOP_EVENTS"
    assert fact.subject("42") == "shop.orders.v1.OrderCreated.42"
    assert fact.stream_subjects == "shop.*.v1.*.*"


def test_a_message_that_is_no_fact_cannot_be_announced() -> None:
    with pytest.raises(TypeError, match="ReserveStockRequest is no fact"):
        contract.fact(ReserveStockRequest)
