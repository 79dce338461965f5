import pytest
from shop.inventory.v1.inventory_service_pb2 import ListStockRequest

from mesh.errors import Refusal
from mesh.rpc.paging import page_of


def test_the_token_of_a_full_page_leads_to_the_next_one() -> None:
    first = page_of(ListStockRequest(page_size=2))
    token = first.next_token(["A", "B"])

    assert page_of(ListStockRequest(page_size=2, page_token=token)).after == "B"


def test_a_page_that_is_not_full_is_the_last() -> None:
    assert page_of(ListStockRequest(page_size=2)).next_token(["A"]) == ""


@pytest.mark.parametrize("token", ["x", "____", "AA==", "!!!!"])
def test_a_token_that_no_list_returned_is_refused(token: str) -> None:
    with pytest.raises(Refusal) as refusal:
        page_of(ListStockRequest(page_token=token))
    assert refusal.value.reason == "INVALID_PAGE_TOKEN"
