"""The payment gateway. See the package for the test tokens."""

import asyncio
import uuid
from typing import Annotated

from aiohttp import web
from pydantic import Field

from sandbox.door import LEDGER, SLOW_SECONDS, Body, Text, body_of, key_of, lost_answer, refusal
from sandbox.ledger import Payment

SLOW = "tok_slow"
FLAKY = "tok_flaky"
APPROVED = {"tok_visa", SLOW, FLAKY}
DECLINED = {"tok_declined": "card_declined", "tok_insufficient_funds": "insufficient_funds"}

routes = web.RouteTableDef()


class Charge(Body):
    amount_minor: Annotated[int, Field(gt=0, le=99_999_999)]  # eight digits, as with well-known gateways
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    token: Text


@routes.put("/v1/payments/{key}")
async def charge(request: web.Request) -> web.Response:
    """Charge once, however often it is asked."""
    key, ledger = key_of(request), request.app[LEDGER]
    wanted = await body_of(request, Charge)
    is_first = ledger.add_payment(_decided(key, wanted))
    # Only after the charge is durable may an answer be late or lost.
    if is_first and wanted.token == SLOW:
        await asyncio.sleep(SLOW_SECONDS)
    if is_first and wanted.token == FLAKY:
        return lost_answer()
    payment = ledger.payment(key)
    if payment.state != "cancelled" and not _asks_for(wanted, payment):
        return refusal(409, "key_reused")
    status = {"charged": 200, "declined": 402, "refunded": 410, "cancelled": 410}[payment.state]
    return _answer(payment, status)


@routes.get("/v1/payments/{key}")
async def show(request: web.Request) -> web.Response:
    return _answer(request.app[LEDGER].payment(key_of(request)))


@routes.post("/v1/payments/{key}/cancel")
async def cancel(request: web.Request) -> web.Response:
    """Give the money back, or see to it that it is never taken."""
    key, ledger = key_of(request), request.app[LEDGER]
    ledger.cancel_payment(key)
    return _answer(ledger.payment(key))


def _decided(key: str, wanted: Charge) -> Payment:
    asked = (wanted.amount_minor, wanted.currency, wanted.token)
    if wanted.token in APPROVED:
        return Payment(key, "charged", *asked, charge_id=f"ch_{uuid.uuid4().hex}")
    return Payment(key, "declined", *asked, decline_code=DECLINED.get(wanted.token, "invalid_token"))


def _asks_for(wanted: Charge, payment: Payment) -> bool:
    asked = (payment.amount_minor, payment.currency, payment.token)
    return (wanted.amount_minor, wanted.currency, wanted.token) == asked


def _answer(payment: Payment, status: int = 200) -> web.Response:
    answer: dict[str, object] = {"key": payment.key, "state": payment.state}
    if payment.state == "declined":
        answer["decline_code"] = payment.decline_code
    elif payment.charge_id:
        answer["amount_minor"] = payment.amount_minor
        answer["currency"] = payment.currency
        answer["charge_id"] = payment.charge_id
    return web.json_response(answer, status=status)
