"""What has to be true of an order: while it is fulfilled, and in the end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from shop.inventory.v1.inventory_facts_pb2 import InventoryReleased
from shop.orders.v1.order_pb2 import CancelReason
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCancelRequested, OrderCompleted
from shop.payment.v1.payment_facts_pb2 import PaymentRefunded
from shop.shipping.v1.shipping_facts_pb2 import ShipmentCancelled, ShipmentCancelRefused
from shop.type.v1.money_pb2 import Money

from services.orders.core import Reason, State
from tests.choreography.plans import Scenario
from tests.choreography.shop import PRICE_MINOR, Books, Shop


class Violation(AssertionError):
    """What must never be."""


@dataclass(frozen=True)
class Ordered:
    """An order, as those know it who judge it."""

    order_id: str
    sku: str
    quantity: int
    scenario: Scenario


class Verdict:
    """Hears of each fact about an order as soon as it is announced, and compares it with what the world knows."""

    def __init__(self, shop: Shop, ordered: Ordered) -> None:
        self._shop = shop
        self._ordered = ordered
        self._outcomes: list[Message] = []
        self._requested: list[Reason] = []
        self._ledger_when_cancelled: list[dict[str, Any]] = []
        self._checks: dict[type[Message], Callable[[Any, Books], str]] = {
            PaymentRefunded: self._refunded,
            InventoryReleased: lambda _, books: "the stock is not back" if books.sold else "",
            ShipmentCancelled: lambda _, books: "there is a parcel" if books.parcels else "",
            ShipmentCancelRefused: lambda _, books: "" if books.parcels else "there is no parcel",
            OrderCancelRequested: self._cancel_requested,
            OrderCompleted: self._completed,
            OrderCancelled: self._cancelled,
        }

    async def hear(self, fact: Message) -> None:
        """Raises Violation if it is not true, or must not be any more."""
        check = self._checks.get(type(fact))
        if check and (untrue := check(fact, await self._books())):
            raise Violation(f"{fact.DESCRIPTOR.name} is announced, but {untrue}")

    async def end(self) -> Reason | None:
        """How it ended, None being its completion. Raises Violation if it has not, or not consistently."""
        order, books = await self._shop.order(self._ordered.order_id), await self._books()
        if order is None or not order.is_final:
            raise Violation(f"it comes to no end: {order}")
        if order.reason not in self._ends():
            raise Violation(f"it ends with {order.reason}, may with {self._ends()}")
        if (order.state is State.COMPLETED) is not (order.reason is None):
            raise Violation(f"it is {order.state.value} with {order.reason}")
        if books != (self._fulfilled() if order.state is State.COMPLETED else Books()):
            raise Violation(f"it is {order.state.value}, the world has {books}")
        if self._outcomes != [self._outcome(order.reason)]:
            raise Violation(f"it is {order.state.value}, announced is {self._outcomes}")
        if order.state is State.CANCELLED and self._ledger() != self._ledger_when_cancelled:
            raise Violation(f"it was cancelled, and yet the world heard more of it: {self._ledger()}")
        return order.reason

    def _refunded(self, fact: PaymentRefunded, books: Books) -> str:
        given_back = sum(
            row["amount_minor"] for row in self._shop.payments(self._ordered.order_id) if row["state"] == "refunded"
        )
        if books.charged_minor or fact.amount.amount_minor != given_back:
            return f"the gateway has given back {given_back} and keeps {books.charged_minor}"
        return ""

    def _cancel_requested(self, fact: OrderCancelRequested, _books: Books) -> str:
        self._requested.append(Reason(CancelReason.Name(fact.reason).removeprefix("CANCEL_REASON_")))
        return "it was before" if len(self._requested) > 1 else ""

    def _completed(self, fact: OrderCompleted, books: Books) -> str:
        self._outcomes.append(fact)
        return "" if books.charged_minor and books.parcels and books.sold else f"the world has {books}"

    def _cancelled(self, fact: OrderCancelled, books: Books) -> str:
        self._outcomes.append(fact)
        self._ledger_when_cancelled = self._ledger()
        return f"the world has {books}" if books != Books() else ""

    def _ends(self) -> set[Reason | None]:
        """How it may end. Where a cancel was asked for, that is its reason, unless it came too late."""
        end = self._ordered.scenario.end
        if not self._requested:
            return {end}
        return {self._requested[0]} | ({None} if end is None else set())

    def _outcome(self, reason: Reason | None) -> Message:
        order_id = self._ordered.order_id
        if reason is None:
            fulfilled = self._fulfilled()
            return OrderCompleted(order_id=order_id, total=Money(currency="EUR", amount_minor=fulfilled.charged_minor))
        return OrderCancelled(order_id=order_id, reason=CancelReason.Value(f"CANCEL_REASON_{reason.value}"))

    def _fulfilled(self) -> Books:
        quantity = self._ordered.quantity
        return Books(charged_minor=PRICE_MINOR * quantity, parcels=1, confirmations=1, sold=quantity)

    def _ledger(self) -> list[dict[str, Any]]:
        return self._shop.payments(self._ordered.order_id) + self._shop.shipments(self._ordered.order_id)

    async def _books(self) -> Books:
        it = self._ordered
        return await self._shop.books(it.order_id, it.sku, it.scenario.stocked)
