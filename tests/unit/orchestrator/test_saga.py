"""A saga's declaration is checked when it is made, and its log when it is read."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from shop.inventory.v1 import inventory_service_pb2 as inventory
from shop.workflow.v1.place_order_pb2 import PlaceOrder

from orchestrator.log import Do, Entry, IllegalLog, Kind, Position, State, Undo, advance, fold
from orchestrator.saga import BadSaga, Facts, Saga, Step
from orchestrator.workflows.place_order import CREATE_SHIPMENT, PLACE_ORDER, RESERVE_STOCK


def saga(*steps: Step[PlaceOrder, Any], key: str = "order_id") -> Saga[PlaceOrder]:
    return Saga("place_order", PlaceOrder, key, steps)


def with_step(change: Callable[[Step[Any, Any]], Step[Any, Any]]) -> Callable[[], object]:
    return lambda: saga(change(RESERVE_STOCK), CREATE_SHIPMENT)


def first(facts: Facts[PlaceOrder]) -> inventory.ReserveStockRequest:
    return inventory.ReserveStockRequest()


@pytest.mark.parametrize(
    ("declare", "complaint"),
    [
        (saga, "has no steps"),
        (
            lambda: saga(RESERVE_STOCK, RESERVE_STOCK),
            "two steps are called reserve_stock",
        ),
        (with_step(lambda step: replace(step, name="Reserve/Stock")), "is no name for a step"),
        (
            with_step(lambda step: replace(step, method="shop.inventory.v1.InventoryService/Steal")),
            "there is no method",
        ),
        (with_step(lambda step: replace(step, undo=None)), "does not say how to ask for it"),
        (with_step(lambda step: replace(step, answer=inventory.GetStockResponse)), "answers shop.inventory.v1"),
        (with_step(lambda step: replace(step, pivot=True)), "has 2 pivots"),
        (lambda: saga(CREATE_SHIPMENT, key="customer"), "has no field customer"),
        (
            lambda: saga(CREATE_SHIPMENT, RESERVE_STOCK),
            "must be RETRY_UNTIL_ANSWERED",
        ),
    ],
)
def test_a_declaration_that_contradicts_its_contracts_is_refused(declare: Callable[[], object], complaint: str) -> None:
    with pytest.raises(BadSaga, match=complaint):
        declare()


def test_the_fingerprint_changes_with_the_steps_and_not_with_the_code_that_fills_requests() -> None:
    first_step, _, *rest = PLACE_ORDER.steps
    filled_otherwise = saga(first_step, replace(RESERVE_STOCK, request=first), *rest)
    shorter = saga(*PLACE_ORDER.steps[:-1])

    assert filled_otherwise.fingerprint == PLACE_ORDER.fingerprint
    assert shorter.fingerprint != PLACE_ORDER.fingerprint


def log(*kinds: tuple[Kind, str]) -> list[Entry]:
    return [Entry(number, 1, path, kind) for number, (kind, path) in enumerate(kinds, 1)]


BEGUN = log((Kind.STARTED, ""), (Kind.STEP_STARTED, "create_order"))
RESERVING = [
    *BEGUN,
    *(
        replace(entry, sequence=entry.sequence + 2)
        for entry in log((Kind.STEP_SUCCEEDED, "create_order"), (Kind.STEP_STARTED, "reserve_stock"))
    ),
]


def test_an_empty_log_is_a_saga_that_is_not_even_started() -> None:
    assert fold(PLACE_ORDER, []) == Position(PLACE_ORDER)


def test_an_announced_step_is_to_be_done_again_after_a_crash() -> None:
    position = fold(PLACE_ORDER, RESERVING)

    assert position.next == Do(RESERVE_STOCK, announced=True)
    assert position.state is State.RUNNING


def test_a_refused_step_is_not_undone_but_those_before_it_are() -> None:
    position = fold(PLACE_ORDER, [*RESERVING, Entry(5, 1, "reserve_stock", Kind.STEP_REFUSED, reason="OUT_OF_STOCK")])

    assert isinstance(position.next, Undo)
    assert position.next.step.name == "create_order"
    assert position.state is State.UNWINDING


def test_an_unanswered_step_is_undone_itself() -> None:
    position = fold(PLACE_ORDER, [*RESERVING, Entry(5, 1, "reserve_stock", Kind.STEP_UNKNOWN)])

    assert isinstance(position.next, Undo)
    assert position.next.step.name == "reserve_stock"


@pytest.mark.parametrize(
    "kind",
    [kind for kind in Kind if kind not in {Kind.STEP_SUCCEEDED, Kind.STEP_REFUSED, Kind.STEP_UNKNOWN, Kind.CANCELLED}],
)
def test_an_entry_that_cannot_follow_raises(kind: Kind) -> None:
    with pytest.raises(IllegalLog):
        fold(PLACE_ORDER, [*RESERVING, Entry(5, 1, "reserve_stock", kind)])


@pytest.mark.parametrize(
    "entry",
    [
        Entry(6, 1, "reserve_stock", Kind.STEP_SUCCEEDED),
        Entry(5, 2, "reserve_stock", Kind.STEP_SUCCEEDED),
        Entry(5, 1, "process_payment", Kind.STEP_SUCCEEDED),
    ],
    ids=["a gap", "another run", "another step"],
)
def test_an_entry_out_of_place_raises(entry: Entry) -> None:
    with pytest.raises(IllegalLog):
        advance(fold(PLACE_ORDER, RESERVING), entry)
