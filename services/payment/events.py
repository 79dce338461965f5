"""Payment's event door: a fact becomes the same calls of core, their outcome the next fact."""

from typing import Any

from shop.inventory.v1.inventory_facts_pb2 import InventoryReserved
from shop.payment.v1 import payment_facts_pb2 as facts
from shop.shipping.v1.shipping_facts_pb2 import ShipmentCancelled, ShippingFailed
from shop.type.v1 import money_pb2, refusal_pb2

from mesh.errors import Refusal
from mesh.events.reaction import Reaction
from mesh.identity import derived_id
from mesh.postgres.database import Database, Once, Transaction
from services.payment import core, store
from services.payment.core import Gateway, Money, Payment, State


class PaymentListener:
    """Reacts to what the others did."""

    def __init__(self, database: Database, gateway: Gateway) -> None:
        self._database = database
        self._gateway = gateway

    def reactions(self) -> tuple[Reaction[Any], ...]:
        """What it reacts to, and how."""
        return (
            Reaction(
                InventoryReserved,
                self.on_inventory_reserved,
                leads_to=(facts.PaymentProcessed, facts.PaymentFailed),
            ),
            Reaction(ShippingFailed, self.on_order_undone, leads_to=(facts.PaymentRefunded,), undoes=True),
            Reaction(ShipmentCancelled, self.on_order_undone, leads_to=(facts.PaymentRefunded,), undoes=True),
        )

    async def on_inventory_reserved(self, fact: InventoryReserved, once: Once) -> None:
        """The items are set aside and priced: charge for them."""
        payment_id = derived_id(fact.order_id, "process_payment")
        amount = Money(fact.total.currency, fact.total.amount_minor)
        wanted = Payment(payment_id, fact.order_id, State.CHARGING, amount, fact.purchase.payment_token)
        async with self._database.connection() as connection:  # one statement, which is a transaction of its own
            begun = await core.begin_charge(store.PostgresPayments(connection), wanted)
        verdict = await core.ask(self._gateway, begun)

        async def work(tx: Transaction) -> None:
            try:
                await core.settle_charge(store.PostgresPayments(tx.connection), wanted, verdict)
            except Refusal as refusal:
                reason = refusal_pb2.Refusal(reason=refusal.reason, message=refusal.message)
                tx.announce(facts.PaymentFailed(order_id=fact.order_id, payment_id=payment_id, refusal=reason))
                return
            tx.announce(
                facts.PaymentProcessed(
                    order_id=fact.order_id, payment_id=payment_id, total=fact.total, purchase=fact.purchase
                )
            )

        await once(work)

    async def on_order_undone(self, fact: ShippingFailed | ShipmentCancelled, once: Once) -> None:
        """The order will not be shipped: give back what was charged, if anything was."""
        payment_id = derived_id(fact.order_id, "process_payment")
        async with self._database.transaction() as connection:
            begun = await core.begin_refund(store.PostgresPayments(connection), payment_id, fact.order_id)
        verdict = await core.ask(self._gateway, begun)

        async def work(tx: Transaction) -> None:
            payments = store.PostgresPayments(tx.connection)
            taken = (await core.settle_refund(payments, payment_id, fact.order_id, verdict)).taken
            amount = taken and money_pb2.Money(currency=taken.currency, amount_minor=taken.amount_minor)
            tx.announce(facts.PaymentRefunded(order_id=fact.order_id, payment_id=payment_id, amount=amount))

        await once(work)
