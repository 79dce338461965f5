"""What shipping decides: every state and action, and every way in which a booking and its cancel can race."""

import itertools
from dataclasses import replace

import pytest

from mesh.errors import Kind, Outage, Refusal
from services.shipping import core
from services.shipping.core import Line, Parcel, Shipment, State, Verdict
from tests.unit.services.interleaving import Party, orders, take_turns

PARCEL = Parcel((Line("MUG", 2), Line("KETTLE", 1)), "10115", "DE")
BOOKING = Shipment("s-1", "order-1", State.BOOKING, PARCEL)
SHIPPED = replace(BOOKING, state=State.SHIPPED, tracking="trk_1")
REFUSED = replace(BOOKING, state=State.REFUSED, refusal_code="no_service_area")
CANCELLING = replace(BOOKING, state=State.CANCELLING)
CANCELLED = replace(BOOKING, state=State.CANCELLED)
TOMBSTONE = Shipment("s-1", "order-1", State.CANCELLED)

BOOKS = Verdict(State.SHIPPED, tracking="trk_1")
REFUSES = Verdict(State.REFUSED, refusal_code="no_service_area")
BARRED = Verdict(State.CANCELLED)


class MemoryShipments:
    """The shipments, in a dict."""

    def __init__(self, *shipments: Shipment) -> None:
        self._rows = {shipment.shipment_id: shipment for shipment in shipments}

    async def add(self, shipment: Shipment) -> Shipment:
        return self._rows.setdefault(shipment.shipment_id, shipment)

    async def get(self, shipment_id: str) -> Shipment:
        return self._rows[shipment_id]

    async def save(self, shipment: Shipment) -> None:
        assert shipment.shipment_id in self._rows
        self._rows[shipment.shipment_id] = shipment

    @property
    def only(self) -> Shipment:
        (shipment,) = self._rows.values()
        return shipment


class MemoryCarrier:
    """A carrier with one parcel in its ledger. It answers every booking alike, and may lose its first answers."""

    def __init__(self, answer: Verdict = BOOKS, lost_answers: int = 0) -> None:
        self.ledger: Verdict | None = None
        self.questions = 0
        self._answer = answer
        self._lost_answers = lost_answers

    async def book(self, shipment_id: str, parcel: Parcel) -> Verdict:
        assert (shipment_id, parcel) == (BOOKING.shipment_id, BOOKING.parcel)
        return self._say(self.ledger or self._answer)

    async def cancel(self, shipment_id: str) -> Verdict:
        assert shipment_id == BOOKING.shipment_id
        return self._say(self.ledger or BARRED)

    def _say(self, verdict: Verdict) -> Verdict:
        self.questions += 1
        self.ledger = verdict
        if self.questions <= self._lost_answers:
            raise Outage("the answer is lost")
        return verdict


async def booking(shipments: MemoryShipments, carrier: MemoryCarrier, wanted: Shipment = BOOKING) -> Party:
    """What a door does with a booking. Between two steps anything may happen."""
    begun = await core.begin_booking(shipments, wanted)
    yield None
    verdict = await core.ask(carrier, begun)
    yield None
    yield await core.settle_booking(shipments, wanted, verdict)


async def cancelling(shipments: MemoryShipments, carrier: MemoryCarrier, order_id: str = "order-1") -> Party:
    """What a door does with a cancel."""
    begun = await core.begin_cancel(shipments, "s-1", order_id)
    yield None
    verdict = await core.ask(carrier, begun)
    yield None
    yield await core.settle_cancel(shipments, "s-1", order_id, verdict)


async def sweep(shipments: MemoryShipments, carrier: MemoryCarrier) -> None:
    """What the sweeper does with an orphan."""
    verdict = await core.ask(carrier, shipments.only)
    await core.settle(shipments, "s-1", verdict)


async def answer(party: Party) -> object:
    """What the party hears in the end, if nobody is in its way."""
    (heard,) = await take_turns([party], [0, 0, 0])
    return heard


def reason(heard: object) -> str:
    assert isinstance(heard, Refusal)
    return heard.reason


async def test_parcel_is_shipped() -> None:
    shipments, carrier = MemoryShipments(), MemoryCarrier()

    assert await answer(booking(shipments, carrier)) == SHIPPED
    assert shipments.only == SHIPPED


@pytest.mark.parametrize("code", ["no_service_area", "oversize"])
async def test_parcel_the_carrier_does_not_take_is_refused_with_its_code_and_stored(code: str) -> None:
    shipments, carrier = MemoryShipments(), MemoryCarrier(Verdict(State.REFUSED, refusal_code=code))

    assert reason(await answer(booking(shipments, carrier))) == code.upper()
    assert shipments.only == replace(REFUSED, refusal_code=code)


async def test_booking_whose_answer_is_lost_is_found_by_the_repeat() -> None:
    shipments, carrier = MemoryShipments(), MemoryCarrier(lost_answers=1)

    assert isinstance(await answer(booking(shipments, carrier)), Outage)
    assert shipments.only == BOOKING

    assert await answer(booking(shipments, carrier)) == SHIPPED


@pytest.mark.parametrize(
    ("before", "carrier_says", "heard", "after"),
    [
        (BOOKING, None, SHIPPED, SHIPPED),
        (SHIPPED, BOOKS, SHIPPED, SHIPPED),
        (REFUSED, REFUSES, "NO_SERVICE_AREA", REFUSED),
        (CANCELLING, None, "SHIPMENT_CANCELLED", CANCELLED),
        (CANCELLING, BARRED, "SHIPMENT_CANCELLED", CANCELLED),
        (CANCELLING, BOOKS, SHIPPED, SHIPPED),
        (CANCELLING, REFUSES, "NO_SERVICE_AREA", REFUSED),
        (CANCELLED, BARRED, "SHIPMENT_CANCELLED", CANCELLED),
        (TOMBSTONE, None, "SHIPMENT_CANCELLED", TOMBSTONE),
    ],
)
async def test_booking_of_a_shipment_in_any_state(
    before: Shipment, carrier_says: Verdict | None, heard: Shipment | str, after: Shipment
) -> None:
    shipments, carrier = MemoryShipments(before), MemoryCarrier()
    carrier.ledger = carrier_says

    found = await answer(booking(shipments, carrier))

    assert (reason(found) if isinstance(heard, str) else found) == heard
    assert shipments.only == after


@pytest.mark.parametrize(
    ("before", "carrier_says", "heard", "after"),
    [
        (BOOKING, None, CANCELLED, CANCELLED),
        (BOOKING, BOOKS, "ALREADY_SHIPPED", SHIPPED),
        (BOOKING, REFUSES, REFUSED, REFUSED),
        (SHIPPED, BOOKS, "ALREADY_SHIPPED", SHIPPED),
        (REFUSED, REFUSES, REFUSED, REFUSED),
        (CANCELLING, None, CANCELLED, CANCELLED),
        (CANCELLING, BOOKS, "ALREADY_SHIPPED", SHIPPED),
        (CANCELLED, BARRED, CANCELLED, CANCELLED),
        (TOMBSTONE, None, TOMBSTONE, TOMBSTONE),
    ],
)
async def test_cancel_of_a_shipment_in_any_state(
    before: Shipment, carrier_says: Verdict | None, heard: Shipment | str, after: Shipment
) -> None:
    shipments, carrier = MemoryShipments(before), MemoryCarrier()
    carrier.ledger = carrier_says

    found = await answer(cancelling(shipments, carrier))

    assert (reason(found) if isinstance(heard, str) else found) == heard
    assert shipments.only == after


async def test_cancel_of_what_is_shipped_names_the_tracking_code() -> None:
    heard = await answer(cancelling(MemoryShipments(SHIPPED), MemoryCarrier()))

    assert isinstance(heard, Refusal)
    assert heard.metadata == {"shipment_id": "s-1", "tracking": "trk_1"}


@pytest.mark.parametrize("shipment", [SHIPPED, REFUSED, CANCELLED, TOMBSTONE])
async def test_settled_shipment_is_never_asked_about_again(shipment: Shipment) -> None:
    carrier = MemoryCarrier()

    assert await core.ask(carrier, shipment) is None
    assert carrier.questions == 0


@pytest.mark.parametrize("shipment", [SHIPPED, REFUSED, CANCELLED, TOMBSTONE])
@pytest.mark.parametrize("late", [BOOKS, REFUSES, BARRED])
async def test_settled_shipment_is_not_changed_by_a_late_word(shipment: Shipment, late: Verdict) -> None:
    assert await core.settle(MemoryShipments(shipment), "s-1", late) == shipment


async def test_cancel_of_a_shipment_that_never_was_refuses_it_for_ever() -> None:
    shipments, carrier = MemoryShipments(), MemoryCarrier()

    assert await answer(cancelling(shipments, carrier)) == TOMBSTONE
    assert reason(await answer(booking(shipments, carrier))) == "SHIPMENT_CANCELLED"
    assert carrier.questions == 0


@pytest.mark.parametrize("before", [BOOKING, SHIPPED, REFUSED])
@pytest.mark.parametrize(
    "wanted",
    [
        replace(BOOKING, order_id="order-2"),
        replace(BOOKING, parcel=replace(PARCEL, lines=(Line("MUG", 3),))),
        replace(BOOKING, parcel=replace(PARCEL, postcode="20095")),
        replace(BOOKING, parcel=replace(PARCEL, country="AT")),
    ],
)
async def test_id_of_another_shipment_is_refused(before: Shipment, wanted: Shipment) -> None:
    heard = await answer(booking(MemoryShipments(before), MemoryCarrier(), wanted))

    assert reason(heard) == "SHIPMENT_ID_REUSED"
    assert isinstance(heard, Refusal)
    assert heard.kind is Kind.ALREADY_EXISTS


@pytest.mark.parametrize("before", [BOOKING, SHIPPED, REFUSED, CANCELLING, CANCELLED, TOMBSTONE])
async def test_cancel_for_another_order_stops_nothing(before: Shipment) -> None:
    shipments = MemoryShipments(before)

    assert reason(await answer(cancelling(shipments, MemoryCarrier(), "order-2"))) == "SHIPMENT_ID_REUSED"
    assert before is not BOOKING or shipments.only == SHIPPED


@pytest.mark.parametrize("says", [BOOKS, REFUSES])
@pytest.mark.parametrize("turns", list(orders(3, 3)))
async def test_booking_and_cancel_agree_on_what_the_carrier_decided(turns: tuple[int, ...], says: Verdict) -> None:
    shipments, carrier = MemoryShipments(), MemoryCarrier(says)

    booked, cancelled = await take_turns([booking(shipments, carrier), cancelling(shipments, carrier)], turns)

    left = shipments.only.state is State.SHIPPED
    assert left == (carrier.ledger == BOOKS)
    assert left == isinstance(booked, Shipment)
    assert left == isinstance(cancelled, Refusal)


@pytest.mark.parametrize("lost_answers", [0, 1, 2])
@pytest.mark.parametrize("says", [BOOKS, REFUSES])
async def test_whoever_is_killed_at_whatever_step_the_sweeper_settles_it(says: Verdict, lost_answers: int) -> None:
    for booking_steps, cancel_steps in itertools.product(range(1, 4), range(4)):
        for turns in orders(booking_steps, cancel_steps):
            shipments, carrier = MemoryShipments(), MemoryCarrier(says, lost_answers)
            parties = [booking(shipments, carrier), cancelling(shipments, carrier)]
            booked, cancelled = await take_turns(parties, turns)
            while carrier.questions < lost_answers and shipments.only in (BOOKING, CANCELLING):
                with pytest.raises(Outage):
                    await sweep(shipments, carrier)

            await sweep(shipments, carrier)

            left = shipments.only.state is State.SHIPPED
            assert left == (carrier.ledger == BOOKS), turns
            assert shipments.only.state in (State.SHIPPED, State.REFUSED, State.CANCELLED), turns
            assert left or not isinstance(booked, Shipment), turns
            assert not left or not isinstance(cancelled, Shipment), turns
