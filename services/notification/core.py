"""What notification decides. Both doors call these functions, and so does the sweeper.

The mail server is never asked inside a transaction. So a command has three parts: `begin_sending` commits the intent,
`ask` asks the mail server, `settle_sending` commits its word. SMTP cannot dedupe: whoever finds an intent without an
outcome asks again, and a customer may get the same message, with the same Message-ID, twice.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Protocol

from mesh.errors import Kind, Refusal, refused


class State(Enum):
    """Of a notification. SENDING waits for the mail server's word."""

    SENDING = "SENDING"
    SENT = "SENT"
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class Money:
    """An amount in the smallest unit of its currency."""

    currency: str
    amount_minor: int


@dataclass(frozen=True)
class Confirmation:
    """What the customer is told, and where."""

    email: str = field(repr=False)
    total: Money
    tracking: str


@dataclass(frozen=True)
class Notification:
    """One mail about an order."""

    notification_id: str
    order_id: str
    state: State
    confirmation: Confirmation
    sent_at: datetime | None = None
    """When the mail server took it."""


@dataclass(frozen=True)
class Verdict:
    """The mail server's word: SENT and when, or REFUSED, which no repeat changes."""

    state: State
    sent_at: datetime | None = None


class Mailer(Protocol):
    """The mail server. Raises Outage where it gives no answer."""

    async def send(self, notification_id: str, order_id: str, confirmation: Confirmation) -> Verdict:
        """Mail the confirmation, under a Message-ID that follows from the notification's id."""
        ...


class Notifications(Protocol):
    """The notifications, within one transaction."""

    async def add(self, notification: Notification) -> Notification:
        """Store the notification unless its id has one. Returns what is stored, held until the transaction ends."""
        ...

    async def get(self, notification_id: str) -> Notification:
        """A notification that was added, held until the transaction ends."""
        ...

    async def save(self, notification: Notification) -> None:
        """Store the notification as it is now."""
        ...


async def begin_sending(notifications: Notifications, wanted: Notification) -> Notification:
    """Store the intent to send, unless the notification is known. Returns it as it is now."""
    return await notifications.add(wanted)


async def ask(mailer: Mailer, notification: Notification) -> Verdict | None:
    """Ask the mail server to take what waits for it; None if it is settled. Raises Outage."""
    if notification.state is not State.SENDING:
        return None
    return await mailer.send(notification.notification_id, notification.order_id, notification.confirmation)


async def settle(notifications: Notifications, notification_id: str, verdict: Verdict | None) -> Notification:
    """Store what the mail server's word makes of a notification."""
    notification = await notifications.get(notification_id)
    if verdict is None or notification.state is not State.SENDING:
        return notification
    settled = replace(notification, state=verdict.state, sent_at=verdict.sent_at)
    await notifications.save(settled)
    return settled


async def settle_sending(notifications: Notifications, wanted: Notification, verdict: Verdict | None) -> Notification:
    """Settle a sending and answer it. A refusal leaves the settled notification to be committed with it.

    Refused: MAILBOX_REFUSED. ALREADY_EXISTS: NOTIFICATION_ID_REUSED.
    """
    notification = await settle(notifications, wanted.notification_id, verdict)
    notification_id = notification.notification_id
    if (notification.order_id, notification.confirmation) != (wanted.order_id, wanted.confirmation):
        message = f"there is another notification {notification_id}; choose a new id"
        raise Refusal(Kind.ALREADY_EXISTS, "NOTIFICATION_ID_REUSED", message, notification_id=notification_id)
    if notification.state is State.REFUSED:
        message = f"the mail server does not take notification {notification_id} for this mailbox"
        raise refused("MAILBOX_REFUSED", message, notification_id=notification_id)
    return notification
