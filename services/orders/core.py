"""What becomes of an order. Both doors call these functions.

A saga says outright what became of its order. In a choreography nobody does: the order's outcome follows from the
facts learned so far, in whatever order they arrive and however often (`learn`).
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from mesh.errors import Kind, Refusal, not_found, refused


class State(Enum):
    """Of an order. COMPLETED and CANCELLED are final."""

    PENDING = "PENDING"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


class Reason(Enum):
    """Why an order is cancelled."""

    OUT_OF_STOCK = "OUT_OF_STOCK"
    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    SHIPPING_REFUSED = "SHIPPING_REFUSED"
    CUSTOMER_REQUEST = "CUSTOMER_REQUEST"
    TIMED_OUT = "TIMED_OUT"


@dataclass(frozen=True)
class Line:
    """So many of one SKU."""

    sku: str
    quantity: int


@dataclass(frozen=True)
class Shipped:
    """What an order that was shipped came to. The total is in the smallest unit of its currency."""

    tracking: str
    currency: str
    total_minor: int


@dataclass(frozen=True)
class Order:
    """An order. A CANCELLED one without lines is a tombstone: its cancel came before it."""

    order_id: str
    choreographed: bool
    customer_id: str = ""
    lines: tuple[Line, ...] = ()
    state: State = State.PENDING
    reason: Reason | None = None
    learned: frozenset[str] = frozenset()
    """The facts that the outcome of a choreographed order follows from."""
    shipped: Shipped | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing will change it any more."""
        return self.state in (State.COMPLETED, State.CANCELLED)


class Book(Protocol):
    """The orders, within one transaction."""

    async def order(self, order_id: str) -> Order | None:
        """The order, held until the transaction ends."""
        ...

    def save(self, order: Order) -> None:
        """Have the order stored as it is now, with the transaction."""
        ...


async def create_order(book: Book, order: Order) -> tuple[Order, bool]:
    """Store a new order. Returns it, and whether it is new.

    Refused: ORDER_CANCELLED, if its cancel came first; ORDER_CHOREOGRAPHED or ORDER_ORCHESTRATED, if it is being
    fulfilled the other way. ALREADY_EXISTS: ORDER_ID_REUSED, if there is another one.
    """
    existing = await book.order(order.order_id)
    if existing is None:
        book.save(order)
        return order, True
    if existing.state is State.CANCELLED and not existing.lines:
        raise refused("ORDER_CANCELLED", f"order {order.order_id} was cancelled before it was made")
    if (existing.customer_id, existing.lines) != (order.customer_id, order.lines):
        message = f"there is another order {order.order_id}; choose a new id"
        raise Refusal(Kind.ALREADY_EXISTS, "ORDER_ID_REUSED", message, order_id=order.order_id)
    (_of_facts if order.choreographed else _of_saga)(existing)
    return existing, False


async def complete_order(book: Book, order_id: str, shipped: Shipped) -> Order:
    """A saga has fulfilled its order. Refused: ORDER_CANCELLED, ORDER_CHOREOGRAPHED."""
    order = await _existing(book, order_id)
    _of_saga(order)
    if order.state is State.CANCELLED:
        raise refused("ORDER_CANCELLED", f"order {order_id} is cancelled", order_id=order_id)
    if order.state is State.PENDING:
        order = replace(order, state=State.COMPLETED, shipped=shipped)
        book.save(order)
    return order


async def cancel_order(book: Book, order_id: str, reason: Reason) -> Order:
    """A saga has undone its order. One that never was leaves a tombstone, which refuses it later.

    Refused: ORDER_COMPLETED, ORDER_CHOREOGRAPHED.
    """
    order = await book.order(order_id) or Order(order_id, choreographed=False)
    _of_saga(order)
    if order.state is State.COMPLETED:
        raise refused("ORDER_COMPLETED", f"order {order_id} is completed", order_id=order_id)
    if order.state is State.PENDING:
        order = replace(order, state=State.CANCELLED, reason=reason)
        book.save(order)
    return order


async def request_cancel(book: Book, order_id: str, reason: Reason) -> tuple[Order, bool]:
    """Begin to cancel a choreographed order. Returns it, and whether Shipping, the gate, is to be asked.

    Refused: ORDER_COMPLETED, ORDER_ORCHESTRATED.
    """
    order = await choreographed_order(book, order_id)
    if order.state is State.COMPLETED:
        raise refused("ORDER_COMPLETED", f"order {order_id} is completed", order_id=order_id)
    if order.state is not State.PENDING:
        return order, False
    order = replace(order, state=State.CANCELLING, reason=reason)
    book.save(order)
    return order, True


async def learn(book: Book, order_id: str, fact: str, shipped: Shipped | None = None) -> tuple[Order, bool]:
    """Take note of a fact about a choreographed order. Returns it, and whether this decided its outcome."""
    before = await _existing(book, order_id)
    after = after_learning(before, fact, shipped)
    book.save(after)
    return after, after.is_final and not before.is_final


REFUSALS = {
    "InventoryReservationFailed": Reason.OUT_OF_STOCK,
    "PaymentFailed": Reason.PAYMENT_DECLINED,
    "ShippingFailed": Reason.SHIPPING_REFUSED,
}
"""The facts that begin an undoing by themselves."""
REQUESTED = (Reason.CUSTOMER_REQUEST, Reason.TIMED_OUT)
"""Why an undoing begins with the question to Shipping, which ends in a refund, whether or not anything was charged."""


def after_learning(order: Order, fact: str, shipped: Shipped | None = None) -> Order:
    """The order, when `fact` is known too. Pure; learning is commutative and idempotent."""
    order = replace(order, learned=order.learned | {fact})
    if order.is_final:
        return order
    if fact == "OrderShipped":
        return replace(order, state=State.COMPLETED, reason=None, shipped=shipped)
    if fact in REFUSALS and order.state is State.PENDING:
        order = replace(order, state=State.CANCELLING, reason=REFUSALS[fact])
    if order.state is State.CANCELLING and not awaited(order):
        order = replace(order, state=State.CANCELLED)
    return order


def awaited(order: Order) -> frozenset[str]:
    """The facts that a CANCELLING order waits for: without them it may be that not all is undone."""
    if "InventoryReservationFailed" in order.learned:
        return frozenset()  # nobody after Inventory has heard of the order
    if "ShipmentCancelRefused" in order.learned:
        return frozenset({"OrderShipped"})  # the cancel came too late
    if "PaymentFailed" in order.learned and order.reason not in REQUESTED:
        return frozenset({"InventoryReleased"}) - order.learned  # Shipping has not heard of it
    # Payment says so after Shipping has refused or cancelled. Where a cancel was asked for, a payment that failed may
    # have failed because of it, with the money still on its way back.
    return frozenset({"InventoryReleased", "PaymentRefunded"}) - order.learned


async def choreographed_order(book: Book, order_id: str) -> Order:
    """An order whose story the facts tell. NOT_FOUND: ORDER_NOT_FOUND. Refused: ORDER_ORCHESTRATED."""
    order = await _existing(book, order_id)
    _of_facts(order)
    return order


async def _existing(book: Book, order_id: str) -> Order:
    order = await book.order(order_id)
    if order is None:
        raise unknown_order(order_id)
    return order


def unknown_order(order_id: str) -> Refusal:
    """There is no such order."""
    return not_found("ORDER_NOT_FOUND", f"there is no order {order_id}", order_id=order_id)


def _of_saga(order: Order) -> None:
    if order.choreographed:
        message = f"order {order.order_id} is choreographed: its outcome follows from the facts"
        raise refused("ORDER_CHOREOGRAPHED", message, order_id=order.order_id)


def _of_facts(order: Order) -> None:
    if not order.choreographed:
        message = f"order {order.order_id} belongs to a saga: start or cancel that"
        raise refused("ORDER_ORCHESTRATED", message, order_id=order.order_id)
