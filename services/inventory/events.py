"""Inventory's event door: a fact becomes the same call of core, its outcome the next fact."""

from typing import Any

from shop.inventory.v1 import inventory_facts_pb2 as facts
from shop.orders.v1.orders_facts_pb2 import OrderCreated
from shop.payment.v1.payment_facts_pb2 import PaymentFailed
from shop.shipping.v1.shipping_facts_pb2 import ShipmentCancelled, ShippingFailed
from shop.type.v1 import money_pb2, refusal_pb2

from mesh.errors import Refusal
from mesh.events.reaction import Reaction
from mesh.identity import derived_id
from mesh.postgres.database import Once, Transaction
from services.inventory import core, store
from services.inventory.core import Line


class InventoryListener:
    """Reacts to what the others did."""

    def reactions(self) -> tuple[Reaction[Any], ...]:
        """What it reacts to, and how."""
        return (
            Reaction(
                OrderCreated,
                self.on_order_created,
                leads_to=(facts.InventoryReserved, facts.InventoryReservationFailed),
            ),
            Reaction(PaymentFailed, self.on_order_undone, leads_to=(facts.InventoryReleased,), undoes=True),
            Reaction(ShippingFailed, self.on_order_undone, leads_to=(facts.InventoryReleased,), undoes=True),
            Reaction(ShipmentCancelled, self.on_order_undone, leads_to=(facts.InventoryReleased,), undoes=True),
        )

    async def on_order_created(self, fact: OrderCreated, once: Once) -> None:
        """A new order: set its items aside."""

        async def work(tx: Transaction) -> None:
            lines = [Line(item.sku, item.quantity) for item in fact.purchase.items]
            reservation_id = derived_id(fact.order_id, "reserve_stock")
            try:
                made = await core.reserve_stock(
                    store.PostgresShelf(tx.connection), reservation_id, fact.order_id, lines
                )
            except Refusal as refusal:
                reason = refusal_pb2.Refusal(reason=refusal.reason, message=refusal.message)
                tx.announce(
                    facts.InventoryReservationFailed(
                        order_id=fact.order_id, reservation_id=reservation_id, refusal=reason
                    )
                )
                return
            total = money_pb2.Money(currency=made.currency, amount_minor=made.total_minor)
            tx.announce(
                facts.InventoryReserved(
                    order_id=fact.order_id, reservation_id=reservation_id, total=total, purchase=fact.purchase
                )
            )

        await once.alone(work)  # it holds the stock of its items, which other orders want, too

    async def on_order_undone(self, fact: PaymentFailed | ShippingFailed | ShipmentCancelled, once: Once) -> None:
        """The order will not be fulfilled: put back what was set aside, if anything was."""

        async def work(tx: Transaction) -> None:
            reservation_id = derived_id(fact.order_id, "reserve_stock")
            await core.release_stock(store.PostgresShelf(tx.connection), reservation_id, fact.order_id)
            tx.announce(facts.InventoryReleased(order_id=fact.order_id, reservation_id=reservation_id))

        await once.alone(work)  # it holds the stock of its items, which other orders want, too
