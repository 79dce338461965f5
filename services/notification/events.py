"""Notification's event door: a fact becomes the same calls of core, their outcome the next fact."""

from contextlib import suppress
from typing import Any

from shop.notification.v1.notification_facts_pb2 import NotificationSent
from shop.shipping.v1.shipping_facts_pb2 import OrderShipped

from mesh.errors import Refusal
from mesh.events.reaction import Reaction
from mesh.identity import derived_id
from mesh.postgres.database import Database, Once, Transaction
from services.notification import core, store
from services.notification.core import Confirmation, Mailer, Money, Notification, State


class NotificationListener:
    """Reacts to what the others did."""

    def __init__(self, database: Database, mailer: Mailer) -> None:
        self._database = database
        self._mailer = mailer

    def reactions(self) -> tuple[Reaction[Any], ...]:
        """What it reacts to, and how."""
        return (Reaction(OrderShipped, self.on_order_shipped, leads_to=(NotificationSent,)),)

    async def on_order_shipped(self, fact: OrderShipped, once: Once) -> None:
        """The parcel is on its way: tell the customer."""
        notification_id = derived_id(fact.order_id, "send_notification")
        total = Money(fact.total.currency, fact.total.amount_minor)
        confirmation = Confirmation(fact.purchase.email, total, fact.tracking)
        wanted = Notification(notification_id, fact.order_id, State.SENDING, confirmation)
        async with self._database.connection() as connection:  # one statement, which is a transaction of its own
            begun = await core.begin_sending(store.PostgresNotifications(connection), wanted)
        verdict = await core.ask(self._mailer, begun)

        async def work(tx: Transaction) -> None:
            with suppress(Refusal):  # nobody waits for the news that a mailbox does not take mail
                await core.settle_sending(store.PostgresNotifications(tx.connection), wanted, verdict)
                tx.announce(NotificationSent(order_id=fact.order_id, notification_id=notification_id))

        await once(work)
