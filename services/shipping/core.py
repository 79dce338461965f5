"""What shipping decides. Both doors call these functions, and so does the sweeper.

The carrier is never asked inside a transaction. So a command has three parts: `begin_...` commits the intent, `ask`
asks the carrier, `settle_...` commits its word. A shipment's id is the carrier's idempotency key, so whoever finds an
intent without an outcome may ask again and settle it.

Where a booking and its cancel race, the carrier decides which came first, and its word is final.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from mesh.errors import Kind, Refusal, refused


class State(Enum):
    """Of a shipment. -ING waits for the carrier's word; what it was is final."""

    BOOKING = "BOOKING"
    SHIPPED = "SHIPPED"
    REFUSED = "REFUSED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class Line:
    """So many of one SKU."""

    sku: str
    quantity: int


@dataclass(frozen=True)
class Parcel:
    """What goes where, as the carrier needs to know it."""

    lines: tuple[Line, ...]
    postcode: str
    country: str


@dataclass(frozen=True)
class Shipment:
    """A parcel for an order; one without it is a tombstone: nothing was shipped, and nothing ever will be."""

    shipment_id: str
    order_id: str
    state: State
    parcel: Parcel | None = None
    tracking: str = ""
    refusal_code: str = ""


@dataclass(frozen=True)
class Verdict:
    """The carrier's word, which is final: SHIPPED with a tracking code, REFUSED with a reason, or CANCELLED."""

    state: State
    tracking: str = ""
    refusal_code: str = ""


class Carrier(Protocol):
    """The carrier. Asking again with the same id is harmless. Raises Outage where it gives no answer."""

    async def book(self, shipment_id: str, parcel: Parcel) -> Verdict:
        """Hand the parcel over, once per id; CANCELLED if it was cancelled before."""
        ...

    async def cancel(self, shipment_id: str) -> Verdict:
        """See to it that nothing is shipped: CANCELLED; or SHIPPED or REFUSED, if it had been."""
        ...


class Shipments(Protocol):
    """The shipments, within one transaction."""

    async def add(self, shipment: Shipment) -> Shipment:
        """Store the shipment unless its id has one. Returns what is stored, held until the transaction ends."""
        ...

    async def get(self, shipment_id: str) -> Shipment:
        """A shipment that was added, held until the transaction ends."""
        ...

    async def save(self, shipment: Shipment) -> None:
        """Store the shipment as it is now."""
        ...


async def begin_booking(shipments: Shipments, wanted: Shipment) -> Shipment:
    """Store the intent to book, unless the shipment is known. Returns it as it is now."""
    return await shipments.add(wanted)


async def begin_cancel(shipments: Shipments, shipment_id: str, order_id: str) -> Shipment:
    """Store the intent to cancel. A shipment that never was leaves a tombstone, which refuses it later."""
    shipment = await shipments.add(Shipment(shipment_id, order_id, State.CANCELLED))
    if shipment.order_id == order_id and shipment.state is State.BOOKING:
        shipment = replace(shipment, state=State.CANCELLING)
        await shipments.save(shipment)
    return shipment


async def ask(carrier: Carrier, shipment: Shipment) -> Verdict | None:
    """Ask the carrier for what the shipment waits for; None if for nothing. Raises Outage."""
    match shipment:
        case Shipment(state=State.BOOKING, parcel=Parcel() as parcel):
            return await carrier.book(shipment.shipment_id, parcel)
        case Shipment(state=State.CANCELLING):
            return await carrier.cancel(shipment.shipment_id)
        case _:
            return None


async def settle(shipments: Shipments, shipment_id: str, verdict: Verdict | None) -> Shipment:
    """Store what the carrier's word makes of a shipment."""
    shipment = await shipments.get(shipment_id)
    if verdict is None or shipment.state not in (State.BOOKING, State.CANCELLING):
        return shipment
    settled = replace(shipment, state=verdict.state, tracking=verdict.tracking, refusal_code=verdict.refusal_code)
    await shipments.save(settled)
    return settled


async def settle_booking(shipments: Shipments, wanted: Shipment, verdict: Verdict | None) -> Shipment:
    """Settle a booking and answer it. A refusal leaves the settled shipment to be committed with it.

    Refused: the carrier's code in upper case, SHIPMENT_CANCELLED. ALREADY_EXISTS: SHIPMENT_ID_REUSED.
    """
    shipment = await settle(shipments, wanted.shipment_id, verdict)
    _check_order(shipment, wanted.order_id)
    if shipment.state is State.CANCELLED:
        message = f"shipment {shipment.shipment_id} is cancelled, and can never be booked"
        raise refused("SHIPMENT_CANCELLED", message, shipment_id=shipment.shipment_id)
    if shipment.parcel != wanted.parcel:
        raise _reused(shipment.shipment_id)
    if shipment.state is State.REFUSED:
        message = f"the carrier refused shipment {shipment.shipment_id}: {shipment.refusal_code}"
        raise refused(shipment.refusal_code.upper(), message, shipment_id=shipment.shipment_id)
    return shipment


async def settle_cancel(shipments: Shipments, shipment_id: str, order_id: str, verdict: Verdict | None) -> Shipment:
    """Settle a cancel and answer it: yes, unless the parcel is with the carrier.

    Refused: ALREADY_SHIPPED. ALREADY_EXISTS: SHIPMENT_ID_REUSED.
    """
    shipment = await settle(shipments, shipment_id, verdict)
    _check_order(shipment, order_id)
    if shipment.state is State.SHIPPED:
        message = f"shipment {shipment_id} is with the carrier, tracking {shipment.tracking}"
        raise refused("ALREADY_SHIPPED", message, shipment_id=shipment_id, tracking=shipment.tracking)
    return shipment


def _check_order(shipment: Shipment, order_id: str) -> None:
    if shipment.order_id != order_id:
        raise _reused(shipment.shipment_id)


def _reused(shipment_id: str) -> Refusal:
    message = f"there is another shipment {shipment_id}; choose a new id"
    return Refusal(Kind.ALREADY_EXISTS, "SHIPMENT_ID_REUSED", message, shipment_id=shipment_id)
