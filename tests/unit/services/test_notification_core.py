"""What notification decides: every state and action, and what is left of somebody killed in between."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mesh.errors import Kind, Outage, Refusal
from services.notification import core
from services.notification.core import Confirmation, Money, Notification, State, Verdict
from tests.unit.services.interleaving import Party, orders, take_turns

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONFIRMATION = Confirmation("ada@example.com", Money("EUR", 1999), "trk_1")
SENDING = Notification("n-1", "order-1", State.SENDING, CONFIRMATION)
SENT = replace(SENDING, state=State.SENT, sent_at=NOON)
REFUSED = replace(SENDING, state=State.REFUSED)

TAKES = Verdict(State.SENT, NOON)
REFUSES = Verdict(State.REFUSED)


class MemoryNotifications:
    """The notifications, in a dict."""

    def __init__(self, *notifications: Notification) -> None:
        self._rows = {notification.notification_id: notification for notification in notifications}

    async def add(self, notification: Notification) -> Notification:
        return self._rows.setdefault(notification.notification_id, notification)

    async def get(self, notification_id: str) -> Notification:
        return self._rows[notification_id]

    async def save(self, notification: Notification) -> None:
        assert notification.notification_id in self._rows
        self._rows[notification.notification_id] = notification

    @property
    def only(self) -> Notification:
        (notification,) = self._rows.values()
        return notification


class MemoryMailer:
    """A mail server that answers every message alike, and may lose its first answers."""

    def __init__(self, answer: Verdict = TAKES, lost_answers: int = 0) -> None:
        self.mailbox: list[tuple[str, str, Confirmation]] = []
        self.questions = 0
        self._answer = answer
        self._lost_answers = lost_answers

    async def send(self, notification_id: str, order_id: str, confirmation: Confirmation) -> Verdict:
        self.questions += 1
        if self._answer is TAKES:
            self.mailbox.append((notification_id, order_id, confirmation))
        if self.questions <= self._lost_answers:
            raise Outage("the answer is lost")
        return self._answer


async def sending(notifications: MemoryNotifications, mailer: MemoryMailer, wanted: Notification = SENDING) -> Party:
    """What a door does. Between two steps anything may happen."""
    begun = await core.begin_sending(notifications, wanted)
    yield None
    verdict = await core.ask(mailer, begun)
    yield None
    yield await core.settle_sending(notifications, wanted, verdict)


async def answer(party: Party) -> object:
    """What the party hears in the end, if nobody is in its way."""
    (heard,) = await take_turns([party], [0, 0, 0])
    return heard


def reason(heard: object) -> str:
    assert isinstance(heard, Refusal)
    return heard.reason


async def test_confirmation_is_sent() -> None:
    notifications, mailer = MemoryNotifications(), MemoryMailer()

    assert await answer(sending(notifications, mailer)) == SENT
    assert notifications.only == SENT
    assert mailer.mailbox == [("n-1", "order-1", CONFIRMATION)]


async def test_mailbox_that_takes_no_mail_is_an_outcome() -> None:
    notifications, mailer = MemoryNotifications(), MemoryMailer(REFUSES)

    assert reason(await answer(sending(notifications, mailer))) == "MAILBOX_REFUSED"
    assert notifications.only == REFUSED


@pytest.mark.parametrize(("before", "heard"), [(SENT, SENT), (REFUSED, "MAILBOX_REFUSED")])
async def test_settled_notification_is_not_sent_again(before: Notification, heard: Notification | str) -> None:
    notifications, mailer = MemoryNotifications(before), MemoryMailer()

    found = await answer(sending(notifications, mailer))

    assert (reason(found) if isinstance(heard, str) else found) == heard
    assert mailer.mailbox == []


@pytest.mark.parametrize("before", [SENDING, SENT, REFUSED])
@pytest.mark.parametrize(
    "wanted",
    [
        replace(SENDING, order_id="order-2"),
        replace(SENDING, confirmation=replace(CONFIRMATION, email="bob@example.com")),
        replace(SENDING, confirmation=replace(CONFIRMATION, total=Money("EUR", 1))),
        replace(SENDING, confirmation=replace(CONFIRMATION, tracking="trk_2")),
    ],
)
async def test_id_of_another_notification_is_refused(before: Notification, wanted: Notification) -> None:
    mailer = MemoryMailer()

    heard = await answer(sending(MemoryNotifications(before), mailer, wanted))

    assert reason(heard) == "NOTIFICATION_ID_REUSED"
    assert isinstance(heard, Refusal)
    assert heard.kind is Kind.ALREADY_EXISTS
    assert all(confirmation == CONFIRMATION for _, _, confirmation in mailer.mailbox)


async def test_mail_whose_answer_is_lost_is_sent_again_under_the_same_id() -> None:
    notifications, mailer = MemoryNotifications(), MemoryMailer(lost_answers=1)

    assert isinstance(await answer(sending(notifications, mailer)), Outage)
    assert notifications.only == SENDING

    assert await answer(sending(notifications, mailer)) == SENT
    assert {notification_id for notification_id, _, _ in mailer.mailbox} == {"n-1"}


@pytest.mark.parametrize(("answer_of_server", "after"), [(TAKES, SENT), (REFUSES, REFUSED)])
@pytest.mark.parametrize("turns", [turns for first in range(1, 4) for turns in orders(first, 3)])
async def test_two_at_once_and_one_of_them_killed_agree(
    turns: tuple[int, ...], answer_of_server: Verdict, after: Notification
) -> None:
    notifications, mailer = MemoryNotifications(), MemoryMailer(answer_of_server)

    await take_turns([sending(notifications, mailer), sending(notifications, mailer)], turns)

    assert notifications.only == after


@pytest.mark.parametrize("notification", [SENT, REFUSED])
@pytest.mark.parametrize("late", [Verdict(State.SENT, NOON + timedelta(seconds=1)), REFUSES])
async def test_settled_notification_is_not_changed_by_a_late_word(notification: Notification, late: Verdict) -> None:
    assert await core.settle(MemoryNotifications(notification), "n-1", late) == notification


async def test_sweeper_sends_what_nobody_waits_for() -> None:
    notifications, mailer = MemoryNotifications(), MemoryMailer()
    await take_turns([sending(notifications, mailer)], [0])

    await core.settle(notifications, "n-1", await core.ask(mailer, notifications.only))

    assert notifications.only == SENT


def test_email_is_not_written_where_a_notification_is_shown() -> None:
    assert "ada@example.com" not in repr(SENDING)
