"""The workflows that every generic test runs: those deployed, and one with all blocks in it."""

from dataclasses import replace

from shop.payment.v1 import payment_service_pb2 as payment
from shop.workflow.v1.place_order_pb2 import PlaceOrder

from orchestrator import workflows
from orchestrator.blocks import Block, Known, Parallel, Sequence, Sleep, leaves
from orchestrator.saga import AnySaga, Saga
from orchestrator.workflows.place_order import (
    COMPLETE_ORDER,
    CREATE_ORDER,
    CREATE_SHIPMENT,
    PROCESS_PAYMENT,
    RESERVE_STOCK,
    SEND_NOTIFICATION,
)


def charge(order: Known[PlaceOrder]) -> payment.ProcessPaymentRequest:
    return payment.ProcessPaymentRequest(payment_id="p", order_id=order.input.order_id)


EVERY_BLOCK = Saga(
    "every_block",
    PlaceOrder,
    "order_id",
    (
        CREATE_ORDER,
        Parallel(
            "prepare",
            (
                Sequence("goods", (RESERVE_STOCK, Sleep("think_it_over", 3600.0))),
                Sequence("money", (replace(PROCESS_PAYMENT, request=charge), replace(RESERVE_STOCK, name="wrap"))),
            ),
        ),
        CREATE_SHIPMENT,
        Sleep("on_its_way", 0.5),
        Parallel("tell", (COMPLETE_ORDER, SEND_NOTIFICATION)),
    ),
)

WORKFLOWS: tuple[AnySaga, ...] = (*workflows.WORKFLOWS, EVERY_BLOCK)


def in_order(saga: AnySaga, done: list[str]) -> bool:
    """Whether steps were done, each at most once, in an order that the saga's blocks allow."""
    where = {name: done.index(name) for name in done}
    legal = all(
        where[one] < where[other] for one, other in _ordered(Sequence("", saga.blocks)) if {one, other} <= set(done)
    )
    return legal and len(where) == len(done)


def _ordered(block: Block) -> list[tuple[str, str]]:
    """Pairs of names of which the first comes before the second."""
    match block:
        case Sequence(blocks=below):
            pairs = [
                (one.name, other.name)
                for number, each in enumerate(below)
                for _, one in leaves(each)
                for later in below[number + 1 :]
                for _, other in leaves(later)
            ]
            return pairs + [pair for each in below for pair in _ordered(each)]
        case Parallel(branches=below):
            return [pair for each in below for pair in _ordered(each)]
        case _:
            return []
