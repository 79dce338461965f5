"""The outside: the payment gateway, and those of our questions whose answer nobody waits for any more."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from mesh.errors import Outage
from mesh.http import HttpPeer
from mesh.postgres.database import Database
from services.payment import core, store
from services.payment.core import Money, State, Verdict

log: structlog.stdlib.BoundLogger = structlog.get_logger("payment.outside")

PAYMENT = "/v1/payments/{payment_id}"
"""The path of one."""


class HttpGateway:
    """The gateway of `core`, over HTTP."""

    def __init__(self, peer: HttpPeer) -> None:
        self._peer = peer

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> "AsyncGenerator[HttpGateway]":
        """The gateway at `url`, with connections kept while open."""
        async with HttpPeer.open("gateway", url) as peer:
            yield cls(peer)

    async def charge(self, payment_id: str, amount: Money, token: str) -> Verdict:
        body = {"amount_minor": amount.amount_minor, "currency": amount.currency, "token": token}
        match await self._peer.ask("PUT", PAYMENT, {"payment_id": payment_id}, body):
            case (400, {"error": str()}) | (409, {"error": "key_reused"}):
                # It can never be charged like this, an amount above the gateway's limit for example.
                return Verdict(State.DECLINED, decline_code="not_chargeable")
            case status, answer:
                return _verdict(status, answer)

    async def cancel(self, payment_id: str) -> Verdict:
        return _verdict(*await self._peer.ask("POST", f"{PAYMENT}/cancel", {"payment_id": payment_id}))


async def settle_orphans(database: Database, gateway: core.Gateway) -> None:
    """Ask for whoever set out to and never came back. Announces nothing: a fact's handler is repeated until it has."""
    while True:
        async with database.connection() as connection:
            orphan = await store.take_orphan(connection)
        if orphan is None:
            return
        verdict = await core.ask(gateway, orphan)
        async with database.transaction() as connection:
            settled = await core.settle(store.PostgresPayments(connection), orphan.payment_id, verdict)
        log.info("orphan_settled", order__id=settled.order_id, payment_id=settled.payment_id, state=settled.state.value)


def _verdict(status: int, answer: Any) -> Verdict:
    match status, answer:
        case 200, {"state": "charged"}:
            return Verdict(State.CHARGED)
        case 200 | 402, {"state": "declined", "decline_code": str(code)}:
            return Verdict(State.DECLINED, decline_code=code)
        case 200 | 410, {"state": "refunded", "currency": str(currency), "amount_minor": int(amount_minor)}:
            return Verdict(State.REFUNDED, Money(currency, amount_minor))
        case 200 | 410, {"state": "cancelled"}:
            return Verdict(State.REFUNDED)
        case _:
            raise Outage(f"gateway: no definite answer, status {status}")
