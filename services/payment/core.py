"""What payment decides. Both doors call these functions, and so does the sweeper.

The gateway is never asked inside a transaction. So a command has three parts: `begin_...` commits the intent, `ask`
asks the gateway, `settle_...` commits its word. A payment's id is the gateway's idempotency key, so whoever finds an
intent without an outcome may ask again and settle it.
"""

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from mesh.errors import Kind, Refusal, refused


class State(Enum):
    """Of a payment. -ING waits for the gateway's word."""

    CHARGING = "CHARGING"
    CHARGED = "CHARGED"
    DECLINED = "DECLINED"
    REFUNDING = "REFUNDING"
    REFUNDED = "REFUNDED"


@dataclass(frozen=True)
class Money:
    """An amount in the smallest unit of its currency."""

    currency: str
    amount_minor: int


@dataclass(frozen=True)
class Payment:
    """Money taken for an order. A REFUNDED one without amount: nothing was charged, and nothing ever will be."""

    payment_id: str
    order_id: str
    state: State
    amount: Money | None = None
    """To be charged, charged, or given back."""
    token: str = field(default="", repr=False)
    decline_code: str = ""

    @property
    def taken(self) -> Money | None:
        """How much is or was charged, also if it is given back; None where nothing was."""
        return None if self.state is State.DECLINED else self.amount


@dataclass(frozen=True)
class Verdict:
    """The gateway's word: CHARGED, DECLINED with its code, or REFUNDED with what it gave back, if anything.

    REFUNDED is final: the gateway never charges this payment any more.
    """

    state: State
    given_back: Money | None = None
    decline_code: str = ""


class Gateway(Protocol):
    """The payment gateway. Asking again with the same id is harmless. Raises Outage where it gives no answer."""

    async def charge(self, payment_id: str, amount: Money, token: str) -> Verdict:
        """Charge, once per id; REFUNDED if it was cancelled before."""
        ...

    async def cancel(self, payment_id: str) -> Verdict:
        """Give back what was charged, or see to it that nothing ever is: REFUNDED, or DECLINED if it had been."""
        ...


class Payments(Protocol):
    """The payments, within one transaction."""

    async def add(self, payment: Payment) -> Payment:
        """Store the payment unless its id has one. Returns what is stored, held until the transaction ends."""
        ...

    async def get(self, payment_id: str) -> Payment:
        """A payment that was added, held until the transaction ends."""
        ...

    async def save(self, payment: Payment) -> None:
        """Store the payment as it is now."""
        ...


async def begin_charge(payments: Payments, wanted: Payment) -> Payment:
    """Store the intent to charge, unless the payment is known. Returns it as it is now."""
    return await payments.add(wanted)


async def begin_refund(payments: Payments, payment_id: str, order_id: str) -> Payment:
    """Store the intent to refund. A payment that never was leaves a tombstone, which refuses it later."""
    payment = await payments.add(Payment(payment_id, order_id, State.REFUNDED))
    if payment.order_id == order_id and payment.state in (State.CHARGING, State.CHARGED):
        payment = replace(payment, state=State.REFUNDING)
        await payments.save(payment)
    return payment


async def ask(gateway: Gateway, payment: Payment) -> Verdict | None:
    """Ask the gateway for what the payment waits for; None if for nothing. Raises Outage."""
    match payment:
        case Payment(state=State.CHARGING, amount=Money() as amount):
            return await gateway.charge(payment.payment_id, amount, payment.token)
        case Payment(state=State.REFUNDING):
            return await gateway.cancel(payment.payment_id)
        case _:
            return None


async def settle(payments: Payments, payment_id: str, verdict: Verdict | None) -> Payment:
    """Store what the gateway's word makes of a payment."""
    payment = await payments.get(payment_id)
    settled = payment if verdict is None else _settled(payment, verdict)
    if settled != payment:
        await payments.save(settled)
    return settled


async def settle_charge(payments: Payments, wanted: Payment, verdict: Verdict | None) -> Payment:
    """Settle a charge and answer it. A refusal leaves the settled payment to be committed with it.

    Refused: the gateway's code in upper case, PAYMENT_REFUNDED. ALREADY_EXISTS: PAYMENT_ID_REUSED.
    """
    payment = await settle(payments, wanted.payment_id, verdict)
    _check_order(payment, wanted.order_id)
    if payment.state in (State.REFUNDING, State.REFUNDED):
        message = f"payment {payment.payment_id} is refunded, and can never be charged"
        raise refused("PAYMENT_REFUNDED", message, payment_id=payment.payment_id)
    if (payment.amount, payment.token) != (wanted.amount, wanted.token):
        raise _reused(payment.payment_id)
    if payment.state is State.DECLINED:
        message = f"the gateway declined payment {payment.payment_id}: {payment.decline_code}"
        raise refused(payment.decline_code.upper(), message, payment_id=payment.payment_id)
    return payment


async def settle_refund(payments: Payments, payment_id: str, order_id: str, verdict: Verdict | None) -> Payment:
    """Settle a refund and answer it: yes, also where nothing had been charged. ALREADY_EXISTS: PAYMENT_ID_REUSED."""
    payment = await settle(payments, payment_id, verdict)
    _check_order(payment, order_id)
    return payment


def _settled(payment: Payment, verdict: Verdict) -> Payment:
    if payment.state is State.CHARGING:
        amount = verdict.given_back if verdict.state is State.REFUNDED else payment.amount
        return replace(payment, state=verdict.state, amount=amount, decline_code=verdict.decline_code)
    if payment.state is State.REFUNDING and verdict.state is not State.CHARGED:
        return replace(payment, state=State.REFUNDED, amount=verdict.given_back)
    return payment  # settled before; or a charge that its refund overtook, which the refund's own verdict settles


def _check_order(payment: Payment, order_id: str) -> None:
    if payment.order_id != order_id:
        raise _reused(payment.payment_id)


def _reused(payment_id: str) -> Refusal:
    message = f"there is another payment {payment_id}; choose a new id"
    return Refusal(Kind.ALREADY_EXISTS, "PAYMENT_ID_REUSED", message, payment_id=payment_id)
