"""The Order service's event door: it learns what the others did, until the outcome is decided."""

from typing import Any

from google.protobuf.message import Message
from shop.inventory.v1.inventory_facts_pb2 import InventoryReleased, InventoryReservationFailed, InventoryReserved
from shop.notification.v1.notification_facts_pb2 import NotificationSent
from shop.orders.v1.order_pb2 import CancelReason
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCompleted
from shop.payment.v1.payment_facts_pb2 import PaymentFailed, PaymentProcessed, PaymentRefunded
from shop.shipping.v1.shipping_facts_pb2 import (
    OrderShipped,
    ShipmentCancelled,
    ShipmentCancelRefused,
    ShippingFailed,
)
from shop.type.v1 import money_pb2

from mesh.changes import Changes
from mesh.events.reaction import Reaction
from mesh.postgres.database import Once, Transaction
from services.orders import core, store
from services.orders.core import Order, Shipped, State

LEARNED: dict[type[Message], tuple[type[Message], ...]] = {
    InventoryReserved: (),
    InventoryReservationFailed: (OrderCancelled,),
    InventoryReleased: (OrderCancelled,),
    PaymentProcessed: (),
    PaymentFailed: (OrderCancelled,),
    PaymentRefunded: (OrderCancelled,),
    OrderShipped: (OrderCompleted,),
    ShippingFailed: (OrderCancelled,),
    ShipmentCancelled: (),
    ShipmentCancelRefused: (),
    NotificationSent: (),
}
"""The facts about an order, and the outcome that each may decide."""


class OrderListener:
    """Reacts to every fact about an order in the same way: it learns."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def reactions(self) -> tuple[Reaction[Any], ...]:
        """What it reacts to, and how."""
        return tuple(Reaction(fact, self.on_fact, leads_to) for fact, leads_to in LEARNED.items())

    async def on_fact(self, fact: Any, once: Once) -> None:
        """Take note; announce the outcome if this decided it."""

        async def work(tx: Transaction) -> None:
            book = store.PostgresBook(tx.connection)
            order, decided = await core.learn(book, fact.order_id, fact.DESCRIPTOR.name, _shipped(fact))
            book.record(store.entry(fact, once.announced_at))
            if decided:
                outcome = _outcome(order)
                book.record(store.entry(outcome, tx.announce(outcome)))
            await book.write()
            tx.after_commit(book.count)

        await once(work)
        self._changes.changed(fact.order_id)


def _shipped(fact: Any) -> Shipped | None:
    if not isinstance(fact, OrderShipped):
        return None
    return Shipped(fact.tracking, fact.total.currency, fact.total.amount_minor)


def _outcome(order: Order) -> OrderCompleted | OrderCancelled:
    if order.state is State.COMPLETED:
        return OrderCompleted(order_id=order.order_id, total=_total(order.shipped))
    reason = order.reason.value if order.reason else "UNSPECIFIED"
    return OrderCancelled(order_id=order.order_id, reason=CancelReason.Value(f"CANCEL_REASON_{reason}"))


def _total(shipped: Shipped | None) -> money_pb2.Money | None:
    if shipped is None:
        return None
    return money_pb2.Money(currency=shipped.currency, amount_minor=shipped.total_minor)
