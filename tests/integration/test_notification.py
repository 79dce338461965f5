"""Notification: both doors, over a real database, against a real mail server."""

import asyncio
from collections.abc import AsyncGenerator
from email import message_from_string

import pytest
from shop.notification.v1.notification_facts_pb2 import NotificationSent
from shop.notification.v1.notification_pb2 import NOTIFICATION_STATE_REFUSED, NOTIFICATION_STATE_SENT
from shop.shipping.v1.shipping_facts_pb2 import OrderShipped

from mesh.errors import Outage, Refusal
from services.notification.outside import SmtpMailer
from tests.foundations import Foundations
from tests.outside import ORDER, TOTAL, NotificationService, Outside, a_service, give_up
from tests.purchases import purchase

pytestmark = pytest.mark.integration

ON_ITS_WAY = OrderShipped(order_id=ORDER, shipment_id="s-1", tracking="trk_1", total=TOTAL, purchase=purchase())


@pytest.fixture
async def notification(foundations: Foundations, outside: Outside) -> AsyncGenerator[NotificationService]:
    async with a_service(NotificationService, SmtpMailer.open(outside.smtp_url), foundations) as service:
        yield service


async def test_confirmation_names_order_total_and_tracking(notification: NotificationService, outside: Outside) -> None:
    for _ in range(2):
        assert await notification.send() == NOTIFICATION_STATE_SENT

    (raw,) = outside.rows("mails", "raw")
    sent = message_from_string(raw.decode())
    assert sent["Message-ID"] == "<n-1@ensemble.example>"
    assert sent["To"] == "ada@example.com"
    assert ORDER in sent["Subject"]
    assert "19.99 EUR" in sent.get_payload()
    assert "trk_1" in sent.get_payload()


async def test_many_mails_at_once_arrive_once_each(notification: NotificationService, outside: Outside) -> None:
    await asyncio.gather(*(notification.send(number) for number in range(50)))

    assert sorted(outside.rows("mails", "message_id")) == sorted(f"<n-{n}@ensemble.example>" for n in range(50))


@pytest.mark.parametrize(
    "email", ["", "bounce@example.com", "ad\u00e4@example.com", 'a"b@c', "a@b@c", "<@>", "a\u2028b@example.com"]
)
async def test_mailbox_that_takes_no_mail_is_refused_and_the_next_one_is_served(
    notification: NotificationService, outside: Outside, email: str
) -> None:
    for _ in range(2):
        with pytest.raises(Refusal) as refusal:
            await notification.send(email=email)
        assert refusal.value.reason == "MAILBOX_REFUSED"
        assert "@" not in refusal.value.message

    assert await notification.send(2) == NOTIFICATION_STATE_SENT
    assert outside.rows("mails", "recipient") == ["ada@example.com"]


async def test_mail_server_that_was_away_is_connected_to_again(
    notification: NotificationService, outside: Outside
) -> None:
    await notification.send(1)
    await outside.end()
    with pytest.raises(Outage) as outage:
        await notification.send(2)
    assert "ada" not in str(outage.value)

    await outside.begin()
    assert await notification.send(2) == NOTIFICATION_STATE_SENT
    assert outside.rows("mails", "message_id") == ["<n-1@ensemble.example>", "<n-2@ensemble.example>"]


async def test_client_that_gives_up_does_not_spoil_the_connection_for_the_next(
    notification: NotificationService, outside: Outside
) -> None:
    for number in range(20):
        call = asyncio.ensure_future(notification.send(number))
        await asyncio.wait({call}, timeout=number / 2000)  # somewhere in the dialogue
        await give_up(call)

    for number in range(20):
        assert await notification.send(number) == NOTIFICATION_STATE_SENT
    assert set(outside.rows("mails", "message_id")) == {f"<n-{n}@ensemble.example>" for n in range(20)}


async def test_shipped_order_is_confirmed_once_however_often_it_is_told(
    notification: NotificationService, outside: Outside
) -> None:
    for _ in range(3):
        await notification.hear(ON_ITS_WAY)

    notification_id = f"{ORDER}.send_notification"
    assert await notification.facts() == [NotificationSent(order_id=ORDER, notification_id=notification_id)]
    assert outside.rows("mails", "message_id") == [f"<{notification_id}@ensemble.example>"]


async def test_mailbox_that_takes_no_mail_is_no_fact(notification: NotificationService) -> None:
    fact = OrderShipped()
    fact.CopyFrom(ON_ITS_WAY)
    fact.purchase.email = "bounce@example.com"

    await notification.hear(fact)

    assert await notification.facts() == []
    (only,) = (await notification.list()).notifications
    assert only.state == NOTIFICATION_STATE_REFUSED


async def test_orphaned_notification_is_sent(notification: NotificationService, outside: Outside) -> None:
    await outside.end()
    with pytest.raises(Outage):
        await notification.send()
    await outside.begin()

    await notification.let_a_minute_pass()
    await asyncio.gather(notification.sweep(), notification.sweep())

    (only,) = (await notification.list()).notifications
    assert only.state == NOTIFICATION_STATE_SENT
    assert outside.rows("mails", "message_id") == ["<n-1@ensemble.example>"]


async def test_notifications_are_listed_newest_first_in_pages_and_by_order(notification: NotificationService) -> None:
    other = ORDER[:-1] + "2"
    for number in range(5):
        await notification.send(number, order_id=other if number == 3 else ORDER)

    first = await notification.list(page_size=3)
    second = await notification.list(page_size=3, page_token=first.next_page_token)

    assert [each.notification_id for each in first.notifications] == ["n-4", "n-3", "n-2"]
    assert [each.notification_id for each in second.notifications] == ["n-1", "n-0"]
    assert not second.next_page_token
    assert [each.notification_id for each in (await notification.list(order_id=other)).notifications] == ["n-3"]
    assert not (await notification.list(order_id="no order")).notifications
