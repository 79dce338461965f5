"""Known bugs, planted one at a time, to show that they would be found. The services have no switch for them."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from unittest.mock import patch

from shop.inventory.v1.inventory_facts_pb2 import InventoryReleased
from shop.orders.v1.orders_facts_pb2 import OrderCancelRequested
from shop.payment.v1.payment_facts_pb2 import PaymentRefunded

from mesh.events.reaction import Reaction
from mesh.identity import new_id
from mesh.postgres.database import Once
from services.inventory.core import Reservation
from services.inventory.store import PostgresShelf
from services.orders import core as orders
from services.payment import core as payment
from tests.choreography.crowd import Reactions
from tests.choreography.shop import Shop


def as_they_are(shop: Shop) -> Reactions:
    """The reactions of the services."""
    return shop.reactions


def broadcast(shop: Shop) -> Reactions:
    """Whoever hears of a wish to cancel undoes what it did, instead of the gate being asked."""
    undo_payment = Reaction(OrderCancelRequested, shop.listeners["payment"].on_order_undone, (PaymentRefunded,))
    undo_inventory = Reaction(OrderCancelRequested, shop.listeners["inventory"].on_order_undone, (InventoryReleased,))
    return [*shop.reactions, ("payment", undo_payment), ("inventory", undo_inventory)]


@contextmanager
def no_tombstones() -> Generator[None]:
    """The undoing of what never was is forgotten."""
    take = PostgresShelf.take

    async def take_some(shelf: PostgresShelf, reservation: Reservation) -> None:
        if reservation.lines:
            await take(shelf, reservation)

    with patch.object(PostgresShelf, "take", take_some):
        yield


@contextmanager
def refunds_in_advance() -> Generator[None]:
    """A refund is announced without waiting for the gateway."""
    ask = payment.ask

    async def assume(gateway: payment.Gateway, it: payment.Payment) -> payment.Verdict | None:
        if it.state is payment.State.REFUNDING:
            return payment.Verdict(payment.State.REFUNDED, it.amount)
        return await ask(gateway, it)

    with patch.object(payment, "ask", assume):
        yield


@contextmanager
def cancelled_in_advance() -> Generator[None]:
    """An order is cancelled without waiting for the refund."""
    awaited = orders.awaited

    def impatient(order: orders.Order) -> frozenset[str]:
        return awaited(order) - {"PaymentRefunded"}

    with patch.object(orders, "awaited", impatient):
        yield


@contextmanager
def cancels_that_win() -> Generator[None]:
    """A parcel that was faster than the cancel is ignored."""
    after_learning = orders.after_learning

    def stubborn(order: orders.Order, fact: str, shipped: orders.Shipped | None = None) -> orders.Order:
        if order.state is orders.State.CANCELLING and fact == "OrderShipped":
            return order
        return after_learning(order, fact, shipped)

    with patch.object(orders, "after_learning", stubborn):
        yield


@contextmanager
def no_inbox() -> Generator[None]:
    """What was handled before is handled again."""
    with patch.object(Once, "key", property(lambda _: f"event/{new_id()}")):
        yield


@dataclass(frozen=True)
class Bug:
    """What is different in a shop with this bug."""

    finding: str
    """Part of what is said of it."""
    planted: Callable[[], AbstractContextManager[None]] = nullcontext
    reactions: Callable[[Shop], Reactions] = as_they_are


NONE = Bug("")
BUGS = {
    "broadcast cancel": Bug("is announced, but", reactions=broadcast),
    "no tombstones": Bug("comes to no end|the world has|may with", no_tombstones),
    "refunds in advance": Bug("PaymentRefunded is announced, but", refunds_in_advance),
    "cancelled in advance": Bug("OrderCancelled is announced, but", cancelled_in_advance),
    "cancels that win": Bug("comes to no end", cancels_that_win),
    "no inbox": Bug("once more has changed", no_inbox),
}
