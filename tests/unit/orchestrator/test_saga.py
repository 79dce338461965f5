"""A saga's declaration is checked when it is made, and its log when it is read."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from shop.inventory.v1 import inventory_service_pb2 as inventory
from shop.workflow.v1.place_order_pb2 import PlaceOrder

from orchestrator.blocks import Block, Known, Parallel, Sleep, Step
from orchestrator.log import Do, Entry, IllegalLog, Kind, Position, Rest, State, Undo, advance, fold
from orchestrator.saga import BadSaga, Saga
from orchestrator.workflows.place_order import (
    CREATE_ORDER,
    CREATE_SHIPMENT,
    PLACE_ORDER,
    RESERVE_STOCK,
)
from tests.unit.orchestrator.workflows import EVERY_BLOCK


def saga(*blocks: Block, key: str = "order_id") -> Saga[PlaceOrder]:
    return Saga("place_order", PlaceOrder, key, blocks)


def with_step(change: Callable[[Step[Any, Any]], Step[Any, Any]]) -> Callable[[], object]:
    return lambda: saga(change(RESERVE_STOCK), CREATE_SHIPMENT)


def first(known: Known[PlaceOrder]) -> inventory.ReserveStockRequest:
    return inventory.ReserveStockRequest()


@pytest.mark.parametrize(
    ("declare", "complaint"),
    [
        (saga, "has no steps"),
        (
            lambda: saga(RESERVE_STOCK, RESERVE_STOCK),
            "two steps are called reserve_stock",
        ),
        (with_step(lambda step: replace(step, name="Reserve-Stock")), "is no name"),
        (lambda: saga(Parallel("Both", (RESERVE_STOCK,))), "is no name"),
        (lambda: saga(RESERVE_STOCK, Sleep("nap", 0)), "is no time"),
        (lambda: saga(Parallel("both", (CREATE_SHIPMENT, RESERVE_STOCK))), "stands in a block"),
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
    first_step, _, *rest = PLACE_ORDER.blocks
    filled_otherwise = saga(first_step, replace(RESERVE_STOCK, request=first), *rest)
    shorter = saga(*PLACE_ORDER.blocks[:-1])
    side_by_side = saga(Parallel("both", PLACE_ORDER.blocks[:2]), *PLACE_ORDER.blocks[2:])

    assert filled_otherwise.fingerprint == PLACE_ORDER.fingerprint
    assert len({shorter.fingerprint, side_by_side.fingerprint, PLACE_ORDER.fingerprint}) == 3


class Log:
    """Entries in the making."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, kind: Kind, path: str = "", **more: Any) -> "Log":
        self.entries.append(Entry(len(self.entries) + 1, 1, path, kind, **more))
        return self

    def done(self, path: str) -> "Log":
        return self.add(Kind.STEP_STARTED, path).add(Kind.STEP_SUCCEEDED, path)


def begun() -> Log:
    return Log().add(Kind.STARTED)


def reserving() -> Log:
    return begun().done("create_order").add(Kind.STEP_STARTED, "reserve_stock")


def preparing() -> Log:
    """Two branches are under way."""
    log = begun().done("create_order")
    return log.add(Kind.STEP_STARTED, "prepare/goods/reserve_stock").add(
        Kind.STEP_STARTED, "prepare/money/process_payment"
    )


def test_an_empty_log_is_a_saga_that_is_not_even_started() -> None:
    assert fold(PLACE_ORDER, []) == Position(PLACE_ORDER)


def test_an_announced_step_is_to_be_done_again_after_a_crash() -> None:
    position = fold(PLACE_ORDER, reserving().entries)

    assert position.next == (Do("reserve_stock", announced=True, step=RESERVE_STOCK),)
    assert position.state is State.RUNNING


def test_a_refused_step_is_not_undone_but_those_before_it_are() -> None:
    position = fold(PLACE_ORDER, reserving().add(Kind.STEP_REFUSED, "reserve_stock", reason="OUT_OF_STOCK").entries)

    assert position.next == (Undo("create_order", step=CREATE_ORDER),)
    assert position.state is State.UNWINDING


def test_an_unanswered_step_is_undone_itself() -> None:
    position = fold(PLACE_ORDER, reserving().add(Kind.STEP_UNKNOWN, "reserve_stock").entries)

    assert position.next == (Undo("reserve_stock", step=RESERVE_STOCK),)


def test_branches_are_next_together_and_what_follows_waits_for_all_of_them() -> None:
    log = preparing()
    both = fold(EVERY_BLOCK, log.entries).next
    log.add(Kind.STEP_SUCCEEDED, "prepare/money/process_payment").done("prepare/money/wrap")
    one = fold(EVERY_BLOCK, log.entries).next
    log.add(Kind.STEP_SUCCEEDED, "prepare/goods/reserve_stock").add(Kind.SLEEP_STARTED, "prepare/goods/think_it_over")
    sleeping = fold(EVERY_BLOCK, log.entries).next
    log.add(Kind.SLEEP_ENDED, "prepare/goods/think_it_over")

    assert [action.path for action in both] == ["prepare/goods/reserve_stock", "prepare/money/process_payment"]
    assert [action.path for action in one] == ["prepare/goods/reserve_stock"]
    assert [type(action) for action in sleeping] == [Rest]
    assert fold(EVERY_BLOCK, log.entries).next == (Do("create_shipment", step=CREATE_SHIPMENT),)


def test_a_failed_branch_stops_the_others_and_what_they_had_begun_is_undone_last_begun_first() -> None:
    log = preparing().add(Kind.STEP_REFUSED, "prepare/money/process_payment", reason="DECLINED")

    position = fold(EVERY_BLOCK, log.entries)

    assert [step.name for step in position.to_undo] == ["create_order", "reserve_stock"]
    assert position.next == (Undo("prepare/goods/reserve_stock", step=RESERVE_STOCK),)
    with pytest.raises(IllegalLog):
        fold(EVERY_BLOCK, log.add(Kind.STEP_SUCCEEDED, "prepare/goods/reserve_stock").entries)


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in Kind
        if kind not in {Kind.STEP_SUCCEEDED, Kind.STEP_REFUSED, Kind.STEP_UNKNOWN, Kind.CANCELLED, Kind.ADOPTED}
    ],
)
def test_an_entry_that_cannot_follow_raises(kind: Kind) -> None:
    with pytest.raises(IllegalLog):
        fold(PLACE_ORDER, reserving().add(kind, "reserve_stock").entries)


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
        advance(fold(PLACE_ORDER, reserving().entries), entry)
