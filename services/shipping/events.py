"""Shipping's event door: a fact becomes the same calls of core, their outcome the next fact."""

from typing import Any

from shop.orders.v1.orders_facts_pb2 import OrderCancelRequested
from shop.payment.v1.payment_facts_pb2 import PaymentProcessed
from shop.shipping.v1 import shipping_facts_pb2 as facts
from shop.type.v1 import refusal_pb2

from mesh.errors import Refusal
from mesh.events.reaction import Reaction
from mesh.identity import derived_id
from mesh.postgres.database import Database, Once, Transaction
from services.shipping import core, store
from services.shipping.core import Carrier, Line, Parcel, Shipment, State


class ShippingListener:
    """Reacts to what the others did."""

    def __init__(self, database: Database, carrier: Carrier) -> None:
        self._database = database
        self._carrier = carrier

    def reactions(self) -> tuple[Reaction[Any], ...]:
        """What it reacts to, and how."""
        return (
            Reaction(
                PaymentProcessed,
                self.on_payment_processed,
                leads_to=(facts.OrderShipped, facts.ShippingFailed),
            ),
            Reaction(
                OrderCancelRequested,
                self.on_order_cancel_requested,
                leads_to=(facts.ShipmentCancelled, facts.ShipmentCancelRefused),
                undoes=True,
            ),
        )

    async def on_payment_processed(self, fact: PaymentProcessed, once: Once) -> None:
        """The order is paid for: ship it."""
        wanted = _wanted(fact)
        async with self._database.connection() as connection:  # one statement, which is a transaction of its own
            begun = await core.begin_booking(store.PostgresShipments(connection), wanted)
        verdict = await core.ask(self._carrier, begun)

        async def work(tx: Transaction) -> None:
            try:
                shipment = await core.settle_booking(store.PostgresShipments(tx.connection), wanted, verdict)
            except Refusal as refusal:
                tx.announce(
                    facts.ShippingFailed(
                        order_id=fact.order_id, shipment_id=wanted.shipment_id, refusal=_reason(refusal)
                    )
                )
                return
            tx.announce(
                facts.OrderShipped(
                    order_id=fact.order_id,
                    shipment_id=shipment.shipment_id,
                    tracking=shipment.tracking,
                    total=fact.total,
                    purchase=fact.purchase,
                )
            )

        await once(work)

    async def on_order_cancel_requested(self, fact: OrderCancelRequested, once: Once) -> None:
        """The gate: an order can be cancelled as long as nothing is shipped."""
        shipment_id = derived_id(fact.order_id, "create_shipment")
        async with self._database.transaction() as connection:
            begun = await core.begin_cancel(store.PostgresShipments(connection), shipment_id, fact.order_id)
        verdict = await core.ask(self._carrier, begun)

        async def work(tx: Transaction) -> None:
            shipments = store.PostgresShipments(tx.connection)
            try:
                await core.settle_cancel(shipments, shipment_id, fact.order_id, verdict)
            except Refusal as refusal:
                tx.announce(
                    facts.ShipmentCancelRefused(
                        order_id=fact.order_id, shipment_id=shipment_id, refusal=_reason(refusal)
                    )
                )
                return
            tx.announce(facts.ShipmentCancelled(order_id=fact.order_id, shipment_id=shipment_id))

        await once(work)


def _wanted(fact: PaymentProcessed) -> Shipment:
    lines = tuple(Line(item.sku, item.quantity) for item in fact.purchase.items)
    parcel = Parcel(lines, fact.purchase.ship_to.postcode, fact.purchase.ship_to.country)
    return Shipment(derived_id(fact.order_id, "create_shipment"), fact.order_id, State.BOOKING, parcel)


def _reason(refusal: Refusal) -> refusal_pb2.Refusal:
    return refusal_pb2.Refusal(reason=refusal.reason, message=refusal.message)
