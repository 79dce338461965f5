"""What payment decides: every state and action, and every way in which a charge and its refund can race."""

import itertools
from dataclasses import replace

import pytest

from mesh.errors import Kind, Outage, Refusal
from services.payment import core
from services.payment.core import Money, Payment, State, Verdict
from tests.unit.services.interleaving import Party, orders, take_turns

AMOUNT = Money("EUR", 1999)
CHARGING = Payment("p-1", "order-1", State.CHARGING, AMOUNT, "tok_visa")
CHARGED = replace(CHARGING, state=State.CHARGED)
DECLINED = replace(CHARGING, state=State.DECLINED, decline_code="card_declined")
REFUNDING = replace(CHARGING, state=State.REFUNDING)
REFUNDED = replace(CHARGING, state=State.REFUNDED)
TOMBSTONE = Payment("p-1", "order-1", State.REFUNDED)

APPROVES = Verdict(State.CHARGED)
DECLINES = Verdict(State.DECLINED, decline_code="card_declined")


class MemoryPayments:
    """The payments, in a dict."""

    def __init__(self, *payments: Payment) -> None:
        self._rows = {payment.payment_id: payment for payment in payments}

    async def add(self, payment: Payment) -> Payment:
        return self._rows.setdefault(payment.payment_id, payment)

    async def get(self, payment_id: str) -> Payment:
        return self._rows[payment_id]

    async def save(self, payment: Payment) -> None:
        assert payment.payment_id in self._rows
        self._rows[payment.payment_id] = payment

    @property
    def only(self) -> Payment:
        (payment,) = self._rows.values()
        return payment


class MemoryGateway:
    """A gateway with one payment in its ledger. It answers every card alike, and may lose its first answers."""

    def __init__(self, answer: Verdict = APPROVES, lost_answers: int = 0) -> None:
        self.ledger: Verdict | None = None
        self.questions = 0
        self._answer = answer
        self._lost_answers = lost_answers

    async def charge(self, payment_id: str, amount: Money, token: str) -> Verdict:
        assert (payment_id, amount, token) == (CHARGING.payment_id, CHARGING.amount, CHARGING.token)
        return self._say(self.ledger or self._answer)

    async def cancel(self, payment_id: str) -> Verdict:
        assert payment_id == CHARGING.payment_id
        if self.ledger == APPROVES:
            return self._say(Verdict(State.REFUNDED, AMOUNT))
        return self._say(self.ledger or Verdict(State.REFUNDED))

    def _say(self, verdict: Verdict) -> Verdict:
        self.questions += 1
        self.ledger = verdict
        if self.questions <= self._lost_answers:
            raise Outage("the answer is lost")
        return verdict


async def charging(payments: MemoryPayments, gateway: MemoryGateway, wanted: Payment = CHARGING) -> Party:
    """What a door does with a charge. Between two steps anything may happen."""
    begun = await core.begin_charge(payments, wanted)
    yield None
    verdict = await core.ask(gateway, begun)
    yield None
    yield await core.settle_charge(payments, wanted, verdict)


async def refunding(payments: MemoryPayments, gateway: MemoryGateway, order_id: str = "order-1") -> Party:
    """What a door does with a refund."""
    begun = await core.begin_refund(payments, "p-1", order_id)
    yield None
    verdict = await core.ask(gateway, begun)
    yield None
    yield await core.settle_refund(payments, "p-1", order_id, verdict)


async def sweep(payments: MemoryPayments, gateway: MemoryGateway) -> None:
    """What the sweeper does with an orphan."""
    verdict = await core.ask(gateway, payments.only)
    await core.settle(payments, "p-1", verdict)


async def answer(party: Party) -> object:
    """What the party hears in the end, if nobody is in its way."""
    (heard,) = await take_turns([party], [0, 0, 0])
    return heard


def reason(heard: object) -> str:
    assert isinstance(heard, Refusal)
    return heard.reason


async def test_good_card_is_charged() -> None:
    payments, gateway = MemoryPayments(), MemoryGateway()

    assert await answer(charging(payments, gateway)) == CHARGED
    assert payments.only == CHARGED
    assert gateway.ledger == APPROVES


@pytest.mark.parametrize("code", ["card_declined", "insufficient_funds", "invalid_token"])
async def test_declined_card_is_refused_with_the_gateways_code_and_stored(code: str) -> None:
    payments, gateway = MemoryPayments(), MemoryGateway(Verdict(State.DECLINED, decline_code=code))

    assert reason(await answer(charging(payments, gateway))) == code.upper()
    assert payments.only == replace(DECLINED, decline_code=code)


async def test_charge_whose_answer_is_lost_is_found_by_the_repeat() -> None:
    payments, gateway = MemoryPayments(), MemoryGateway(lost_answers=1)

    assert isinstance(await answer(charging(payments, gateway)), Outage)
    assert payments.only == CHARGING

    assert await answer(charging(payments, gateway)) == CHARGED


@pytest.mark.parametrize(
    ("before", "heard", "after"),
    [
        (CHARGING, CHARGED, CHARGED),
        (CHARGED, CHARGED, CHARGED),
        (DECLINED, "CARD_DECLINED", DECLINED),
        (REFUNDING, "PAYMENT_REFUNDED", TOMBSTONE),
        (REFUNDED, "PAYMENT_REFUNDED", REFUNDED),
        (TOMBSTONE, "PAYMENT_REFUNDED", TOMBSTONE),
    ],
)
async def test_charge_of_a_payment_in_any_state(before: Payment, heard: Payment | str, after: Payment) -> None:
    payments, gateway = MemoryPayments(before), MemoryGateway()

    found = await answer(charging(payments, gateway))

    assert (reason(found) if isinstance(heard, str) else found) == heard
    assert replace(payments.only, token="") == replace(after, token="")


@pytest.mark.parametrize(
    ("before", "charged", "after", "given_back"),
    [
        (CHARGING, APPROVES, State.REFUNDED, AMOUNT),
        (CHARGING, DECLINES, State.REFUNDED, None),
        (CHARGING, None, State.REFUNDED, None),
        (CHARGED, APPROVES, State.REFUNDED, AMOUNT),
        (DECLINED, DECLINES, State.DECLINED, None),
        (REFUNDING, APPROVES, State.REFUNDED, AMOUNT),
        (REFUNDING, Verdict(State.REFUNDED, AMOUNT), State.REFUNDED, AMOUNT),
        (REFUNDED, Verdict(State.REFUNDED, AMOUNT), State.REFUNDED, AMOUNT),
        (TOMBSTONE, None, State.REFUNDED, None),
    ],
)
async def test_refund_of_a_payment_in_any_state(
    before: Payment, charged: Verdict | None, after: State, given_back: Money | None
) -> None:
    payments, gateway = MemoryPayments(before), MemoryGateway()
    gateway.ledger = charged

    heard = await answer(refunding(payments, gateway))

    assert isinstance(heard, Payment)
    assert (heard.state, heard.taken) == (after, given_back)
    assert payments.only == heard
    assert gateway.ledger != APPROVES


@pytest.mark.parametrize("payment", [CHARGED, DECLINED, REFUNDED, TOMBSTONE])
async def test_settled_payment_is_never_asked_about_again(payment: Payment) -> None:
    gateway = MemoryGateway()

    assert await core.ask(gateway, payment) is None
    assert gateway.questions == 0


@pytest.mark.parametrize("payment", [CHARGED, DECLINED, REFUNDED, TOMBSTONE])
@pytest.mark.parametrize("late", [APPROVES, DECLINES, Verdict(State.REFUNDED)])
async def test_settled_payment_is_not_changed_by_a_late_word(payment: Payment, late: Verdict) -> None:
    assert await core.settle(MemoryPayments(payment), "p-1", late) == payment


async def test_refund_of_a_payment_that_never_was_refuses_it_for_ever() -> None:
    payments, gateway = MemoryPayments(), MemoryGateway()

    assert await answer(refunding(payments, gateway)) == TOMBSTONE
    assert reason(await answer(charging(payments, gateway))) == "PAYMENT_REFUNDED"
    assert gateway.questions == 0


async def test_charge_cancelled_at_the_gateway_by_somebody_else_is_refunded() -> None:
    payments, gateway = MemoryPayments(), MemoryGateway()
    gateway.ledger = Verdict(State.REFUNDED)

    assert reason(await answer(charging(payments, gateway))) == "PAYMENT_REFUNDED"
    assert payments.only.state is State.REFUNDED
    assert payments.only.taken is None


@pytest.mark.parametrize("before", [CHARGING, CHARGED, DECLINED])
@pytest.mark.parametrize(
    "wanted",
    [
        replace(CHARGING, order_id="order-2"),
        replace(CHARGING, amount=Money("EUR", 2000)),
        replace(CHARGING, amount=Money("USD", 1999)),
        replace(CHARGING, token="tok_slow"),
    ],
)
async def test_id_of_another_payment_is_refused(before: Payment, wanted: Payment) -> None:
    payments = MemoryPayments(before)

    heard = await answer(charging(payments, MemoryGateway(), wanted))

    assert reason(heard) == "PAYMENT_ID_REUSED"
    assert isinstance(heard, Refusal)
    assert heard.kind is Kind.ALREADY_EXISTS


@pytest.mark.parametrize("before", [CHARGING, CHARGED, DECLINED, REFUNDING, REFUNDED, TOMBSTONE])
async def test_refund_for_another_order_gives_nothing_back(before: Payment) -> None:
    payments, gateway = MemoryPayments(before), MemoryGateway()
    charged = before in (CHARGING, CHARGED)
    gateway.ledger = APPROVES if charged else None

    assert reason(await answer(refunding(payments, gateway, "order-2"))) == "PAYMENT_ID_REUSED"
    assert (gateway.ledger == APPROVES) == charged


def test_token_is_not_written_where_a_payment_is_shown() -> None:
    assert "tok_visa" not in repr(CHARGING)


@pytest.mark.parametrize("card", [APPROVES, DECLINES])
@pytest.mark.parametrize("turns", list(orders(3, 3)))
async def test_money_is_kept_exactly_if_the_payment_is_charged(turns: tuple[int, ...], card: Verdict) -> None:
    payments, gateway = MemoryPayments(), MemoryGateway(card)

    charged, refunded = await take_turns([charging(payments, gateway), refunding(payments, gateway)], turns)

    # Whoever asks for money back has it back. A charge that was answered yes may have been given back later.
    assert isinstance(refunded, Payment)
    assert gateway.ledger != APPROVES
    assert payments.only.state in (State.REFUNDED, State.DECLINED)
    assert charged == CHARGED or reason(charged) in ("PAYMENT_REFUNDED", "CARD_DECLINED")
    given_back = gateway.ledger.given_back if gateway.ledger else None
    assert payments.only.taken == given_back


async def test_a_charge_its_repeat_and_their_refund_end_without_money_in_any_order() -> None:
    for turns in orders(3, 3, 3):
        payments, gateway = MemoryPayments(), MemoryGateway()
        parties = [charging(payments, gateway), charging(payments, gateway), refunding(payments, gateway)]

        await take_turns(parties, turns)

        assert payments.only.state is State.REFUNDED, turns
        assert gateway.ledger != APPROVES, turns


@pytest.mark.parametrize("lost_answers", [0, 1, 2])
@pytest.mark.parametrize("card", [APPROVES, DECLINES])
async def test_whoever_is_killed_at_whatever_step_the_sweeper_settles_it(card: Verdict, lost_answers: int) -> None:
    for charge_steps, refund_steps in itertools.product(range(1, 4), range(4)):
        for turns in orders(charge_steps, refund_steps):
            payments, gateway = MemoryPayments(), MemoryGateway(card, lost_answers)
            await take_turns([charging(payments, gateway), refunding(payments, gateway)], turns)
            while gateway.questions < lost_answers and payments.only in (CHARGING, REFUNDING):
                with pytest.raises(Outage):
                    await sweep(payments, gateway)

            await sweep(payments, gateway)

            assert payments.only.state in (State.CHARGED, State.DECLINED, State.REFUNDED), turns
            assert (payments.only.state is State.CHARGED) == (gateway.ledger == APPROVES), turns
            assert refund_steps == 0 or gateway.ledger != APPROVES, turns
