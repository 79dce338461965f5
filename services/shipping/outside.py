"""The outside: the carrier, and those of our questions whose answer nobody waits for any more."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from mesh.errors import Outage
from mesh.http import HttpPeer
from mesh.postgres.database import Database
from services.shipping import core, store
from services.shipping.core import Parcel, State, Verdict

log: structlog.stdlib.BoundLogger = structlog.get_logger("shipping.outside")

SHIPMENT = "/v1/shipments/{shipment_id}"
"""The path of one."""


class HttpCarrier:
    """The carrier of `core`, over HTTP."""

    def __init__(self, peer: HttpPeer) -> None:
        self._peer = peer

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> "AsyncGenerator[HttpCarrier]":
        """The carrier at `url`, with connections kept while open."""
        async with HttpPeer.open("carrier", url) as peer:
            yield cls(peer)

    async def book(self, shipment_id: str, parcel: Parcel) -> Verdict:
        parcels = [{"sku": line.sku, "quantity": line.quantity} for line in parcel.lines]
        body = {"postcode": parcel.postcode, "country": parcel.country, "parcels": parcels}
        match await self._peer.ask("PUT", SHIPMENT, {"shipment_id": shipment_id}, body):
            case (400, {"error": str()}) | (409, {"error": "key_reused"}):
                # It can never be booked like this.
                return Verdict(State.REFUSED, refusal_code="not_shippable")
            case status, answer:
                return _verdict(status, answer)

    async def cancel(self, shipment_id: str) -> Verdict:
        return _verdict(*await self._peer.ask("POST", f"{SHIPMENT}/cancel", {"shipment_id": shipment_id}))


async def settle_orphans(database: Database, carrier: core.Carrier) -> None:
    """Ask for whoever set out to and never came back. Announces nothing: a fact's handler is repeated until it has."""
    while True:
        async with database.connection() as connection:
            orphan = await store.take_orphan(connection)
        if orphan is None:
            return
        verdict = await core.ask(carrier, orphan)
        async with database.transaction() as connection:
            settled = await core.settle(store.PostgresShipments(connection), orphan.shipment_id, verdict)
        log.info(
            "orphan_settled", order__id=settled.order_id, shipment_id=settled.shipment_id, state=settled.state.value
        )


def _verdict(status: int, answer: Any) -> Verdict:
    match status, answer:
        case 200 | 409, {"state": "booked", "tracking": str(tracking)}:
            return Verdict(State.SHIPPED, tracking=tracking)
        case 200 | 422, {"state": "refused", "refusal_code": str(code)}:
            return Verdict(State.REFUSED, refusal_code=code)
        case 200 | 410, {"state": "cancelled"}:
            return Verdict(State.CANCELLED)
        case _:
            raise Outage(f"carrier: no definite answer, status {status}")
