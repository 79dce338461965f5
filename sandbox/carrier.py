"""The carrier. See the package for the test postcodes."""

import asyncio
import json
import uuid
from typing import Annotated

from aiohttp import web
from pydantic import Field

from sandbox.door import LEDGER, SLOW_SECONDS, Body, Text, body_of, key_of, lost_answer, refusal
from sandbox.ledger import Shipment

REFUSED = {"00000": "no_service_area", "99999": "oversize"}
SLOW = "55555"
FLAKY = "44444"

routes = web.RouteTableDef()


class Parcel(Body):
    sku: Text
    quantity: Annotated[int, Field(gt=0, le=1_000_000)]


class Booking(Body):
    postcode: Text
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")]
    parcels: Annotated[list[Parcel], Field(min_length=1, max_length=1000)]


@routes.put("/v1/shipments/{key}")
async def book(request: web.Request) -> web.Response:
    """Book once, however often it is asked."""
    key, ledger = key_of(request), request.app[LEDGER]
    wanted = await body_of(request, Booking)
    is_first = ledger.add_shipment(_decided(key, wanted))
    # Only after the booking is durable may an answer be late or lost.
    if is_first and wanted.postcode == SLOW:
        await asyncio.sleep(SLOW_SECONDS)
    if is_first and wanted.postcode == FLAKY:
        return lost_answer()
    shipment = ledger.shipment(key)
    if shipment.state != "cancelled" and not _asks_for(wanted, shipment):
        return refusal(409, "key_reused")
    status = {"booked": 200, "refused": 422, "cancelled": 410}[shipment.state]
    return _answer(shipment, status)


@routes.get("/v1/shipments/{key}")
async def show(request: web.Request) -> web.Response:
    return _answer(request.app[LEDGER].shipment(key_of(request)))


@routes.post("/v1/shipments/{key}/cancel")
async def cancel(request: web.Request) -> web.Response:
    """See to it that the parcels never leave; 409 when they have left, which nothing undoes."""
    key, ledger = key_of(request), request.app[LEDGER]
    ledger.cancel_shipment(key)
    shipment = ledger.shipment(key)
    return _answer(shipment, 409 if shipment.state == "booked" else 200)


def _decided(key: str, wanted: Booking) -> Shipment:
    asked = (wanted.postcode, wanted.country, _as_json(wanted.parcels))
    if wanted.postcode in REFUSED:
        return Shipment(key, "refused", *asked, refusal_code=REFUSED[wanted.postcode])
    return Shipment(key, "booked", *asked, tracking=f"trk_{uuid.uuid4().hex}")


def _asks_for(wanted: Booking, shipment: Shipment) -> bool:
    asked = (shipment.postcode, shipment.country, shipment.parcels)
    return (wanted.postcode, wanted.country, _as_json(wanted.parcels)) == asked


def _as_json(parcels: list[Parcel]) -> str:
    return json.dumps([parcel.model_dump() for parcel in parcels])


def _answer(shipment: Shipment, status: int = 200) -> web.Response:
    answer = {"key": shipment.key, "state": shipment.state}
    if shipment.tracking:
        answer["tracking"] = shipment.tracking
    if shipment.refusal_code:
        answer["refusal_code"] = shipment.refusal_code
    return web.json_response(answer, status=status)
