"""The story of a choreographed order, from what the broker has: what happened, and who is awaited."""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from shop.inventory.v1.inventory_facts_pb2 import InventoryReleased, InventoryReserved
from shop.notification.v1.notification_facts_pb2 import NotificationSent
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCompleted, OrderCreated
from shop.payment.v1.payment_facts_pb2 import PaymentFailed, PaymentProcessed
from shop.shipping.v1.shipping_facts_pb2 import OrderShipped

from catalogue import model
from cli import choreographed
from cli.chronicle import Awaited, Chronicle, Happened
from cli.evidence import Evidence, Place
from cli.story import Story, tell
from mesh.cloudevents import announce
from mesh.events.dead_letters import Letter
from mesh.events.history import Recorded

ORDER = "0193a8b0-0000-7000-8000-000000000001"
CATALOGUE = model.read()
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = START + timedelta(seconds=60)
HAPPY = (OrderCreated, InventoryReserved, PaymentProcessed, OrderShipped, OrderCompleted, NotificationSent)


def recorded(sequence: int, fact: Message, cause: str) -> Recorded:
    """A fact as the stream has it, announced so many seconds after the start."""
    source = fact.DESCRIPTOR.full_name.split(".")[1]
    event = announce(fact, source, cause)
    at = START + timedelta(seconds=sequence)
    headers = {**event.headers, "ce-time": at.isoformat()}
    return Recorded(sequence, at, event.subject, headers, event.payload)


def chain(*facts: type[Message], first: int = 1, cause: str = f"{ORDER}/place") -> list[Recorded]:
    """Facts of which each is the cause of the next."""
    found: list[Recorded] = []
    for sequence, fact in enumerate(facts, first):
        found.append(recorded(sequence, fact(order_id=ORDER), found[-1].event_id if found else cause))
    return found


def happy() -> list[Recorded]:
    facts = chain(*HAPPY[:5])
    return [*facts, recorded(6, NotificationSent(order_id=ORDER), facts[3].event_id)]


def places(settled: int = 100, **waiting: tuple[int, int]) -> list[Place]:
    """Every durable, all of them done up to a sequence, some not beyond (settled, delivered)."""
    return [
        _place(each.durable, each.stream, each.subject, *waiting.get(each.durable, (settled, settled)))
        for service in CATALOGUE.services
        for each in service.reactions
    ]


def _place(name: str, stream: str, subject: str, settled: int, delivered: int) -> Place:
    return Place(name, stream, subject, delivered, settled, waiting=3, is_read=False)


def evidence(facts: Iterable[Recorded], **others: object) -> Evidence:
    return replace(Evidence(ORDER, LATER, list(facts), places=places()), **others)  # type: ignore[arg-type]


def story(found: Evidence) -> Story:
    return tell(found, CATALOGUE)


def chronicle(found: Evidence) -> Chronicle:
    return choreographed.chronicle(story(found), found)


def awaited(found: Evidence) -> list[tuple[str, str]]:
    return [(each.who, each.what) for each in chronicle(found).awaited]


def letter(record: Recorded, durable: str, **headers: str) -> Letter:
    subject = f"{'resolved' if headers else 'dead'}.{durable}.{record.subject}"
    dead = {"Dead-Reason": "NO_IDEA: it is odd", "Dead-Stream": "SHOP_EVENTS", "Dead-Sequence": str(record.sequence)}
    kept = {**record.headers, **dead, **headers}
    return Letter(Recorded(17 + len(headers), LATER, subject, kept, record.payload))


def test_an_order_that_is_completed_awaits_nobody() -> None:
    told = chronicle(evidence(happy()))

    assert (told.state, told.awaited) == ("COMPLETED", [])
    assert told.ended_at == START + timedelta(seconds=5)


def test_each_fact_hangs_on_the_one_that_caused_it_with_what_it_took() -> None:
    lines = [line for line in chronicle(evidence(happy())).lines if isinstance(line, Happened)]

    assert [f"{line.branch}{line.what}" for line in lines] == [
        "OrderCreated",
        "└─ InventoryReserved",
        "   └─ PaymentProcessed",
        "      └─ OrderShipped",
        "         ├─ OrderCompleted",
        "         └─ NotificationSent",
    ]
    assert [line.who for line in lines] == ["orders", "inventory", "payment", "shipping", "orders", "notification"]
    assert [line.took and line.took.total_seconds() for line in lines] == [None, 1, 1, 1, 1, 2]
    assert lines[0].detail == "<- place"


def test_who_was_not_given_the_fact_is_awaited_since_it_was_announced() -> None:
    found = evidence(chain(*HAPPY[:2]), places=places(payment_InventoryReserved=(1, 1)))

    (line,) = chronicle(found).awaited
    assert (line.who, line.what) == ("payment", "PaymentFailed or PaymentProcessed")
    assert line.since == START + timedelta(seconds=2)
    assert line.why == "3 wait in payment_InventoryReserved, which nobody reads now"


def test_who_was_given_the_fact_and_has_not_acknowledged_it_is_awaited() -> None:
    (line,) = chronicle(evidence(chain(*HAPPY[:2]), places=places(payment_InventoryReserved=(1, 2)))).awaited

    assert line.who == "payment"
    assert "has not acknowledged it" in line.why


def test_what_others_are_busy_with_is_not_awaited_of_an_order_that_has_gone_on() -> None:
    busy = {each.name: (0, 100) for each in places()}

    assert awaited(evidence(happy(), places=places(**busy))) == []


def test_who_only_takes_note_is_awaited_too() -> None:
    found = evidence(happy(), places=places(orders_NotificationSent=(5, 5)))

    assert awaited(found) == [("orders", "to take note of NotificationSent")]


def test_a_service_that_has_never_listened_is_awaited_and_something_is_wrong() -> None:
    without = [place for place in places() if place.name != "payment_InventoryReserved"]

    (line,) = chronicle(evidence(chain(*HAPPY[:2]), places=without)).awaited
    assert (line.who, line.wrong) == ("payment", True)
    assert "never listened" in line.why


def test_a_durable_that_the_catalogue_does_not_know_is_awaited() -> None:
    subject = "shop.orders.v1.OrderCreated.*"
    newer = _place("loyalty_OrderCreated", "SHOP_EVENTS", subject, settled=0, delivered=0)

    assert awaited(evidence(happy(), places=[*places(), newer])) == [("loyalty", "to take note of OrderCreated")]


def test_where_nobody_is_awaited_who_said_nothing_is_named() -> None:
    (line,) = chronicle(evidence(chain(*HAPPY[:2]))).awaited

    assert line.who == "payment"
    assert line.why == "it has acknowledged InventoryReserved, and announced nothing since"


def test_a_dead_letter_is_awaited_with_its_reason_and_its_id() -> None:
    facts = chain(*HAPPY[:2])

    (line,) = chronicle(evidence(facts, letters=[letter(facts[1], "payment_InventoryReserved")])).awaited

    assert (line.who, line.wrong, line.since) == ("payment", True, LATER)
    assert line.why == "InventoryReserved is its dead letter 17: NO_IDEA: it is odd"


def test_a_dead_letter_that_is_no_event_is_found_by_its_place_in_the_stream() -> None:
    odd = Recorded(1, START, f"shop.orders.v1.OrderCreated.{ORDER}", {}, b"\xff")

    (line,) = [
        each
        for each in chronicle(evidence([odd], letters=[letter(odd, "inventory_OrderCreated")])).awaited
        if each.wrong
    ]

    assert line.who == "inventory"


def test_a_letter_that_was_discarded_is_told_and_not_awaited() -> None:
    facts = chain(*HAPPY[:2])
    discarded = letter(
        facts[1],
        "payment_InventoryReserved",
        **{"Resolved-As": "discarded", "Resolved-By": "ada", "Resolved-Letter": "17"},
    )

    told = chronicle(evidence(facts, letters=[discarded]))

    assert [line.why for line in told.awaited] == []
    assert ("ada", "discarded it for payment") in [(line.who, line.what) for line in told.lines]


def test_a_letter_that_is_replayed_is_awaited_from_the_stream_of_what_is_sent_again() -> None:
    facts = chain(*HAPPY[:2])
    replayed = letter(facts[1], "payment_InventoryReserved", **{"Resolved-As": "replayed", "Resolved-Letter": "17"})
    again = replace(facts[1], sequence=9, subject=f"again.payment.{facts[1].subject}", stored_at=LATER)
    place = _place("payment_again", "AGAIN", "again.payment.>", settled=8, delivered=8)

    (line,) = chronicle(evidence(facts, letters=[replayed], again=[again], places=[*places(), place])).awaited

    assert (line.who, line.since, line.why) == ("payment", LATER, "3 wait in payment_again, which nobody reads now")


def test_what_was_sent_twice_is_told_once() -> None:
    facts = happy()
    twice = [replace(each, sequence=each.sequence + 50) for each in facts]

    told = story(evidence([*facts, *twice]))

    assert [each.record.sequence for each in told.happenings()] == [1, 2, 3, 4, 5, 6]


def test_an_order_is_undone_in_the_branch_that_failed() -> None:
    facts = chain(OrderCreated, InventoryReserved, PaymentFailed, InventoryReleased, OrderCancelled)

    told = story(evidence(facts))

    assert told.state == "CANCELLED"
    assert [each.event for each in told.happenings()][-1] == "OrderCancelled"


def test_what_cannot_be_read_is_shown_with_what_is_wrong() -> None:
    unknown = Recorded(
        8, LATER, f"shop.loyalty.v1.PointsEarned.{ORDER}", {"ce-type": "shop.loyalty.v1.PointsEarned"}, b""
    )
    forged = Recorded(9, LATER, f"shop.payment.v1.PaymentProcessed.{ORDER}", {}, b"\xff\xff")

    lines = chronicle(evidence([*happy(), unknown, forged])).lines[-2:]

    assert [line.wrong for line in lines] == [True, True]
    assert "PointsEarned is not known here" in lines[0].detail  # type: ignore[union-attr]


def test_facts_that_claim_to_have_caused_each_other_are_told_all_the_same() -> None:
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    circle = [
        replace(each, headers={**each.headers, "ce-id": own, "ce-causationid": cause})
        for each, own, cause in zip(chain(*HAPPY[:2]), (one, other), (other, one), strict=True)
    ]

    assert len(story(evidence(circle)).happenings()) == 2


def test_who_could_not_be_asked_for_is_not_awaited() -> None:
    told = chronicle(evidence(chain(*HAPPY[:2]), places=None, not_asked=["who has reacted: no answer"]))

    assert not [line for line in told.lines if isinstance(line, Awaited)]
    assert told.not_asked == ["who has reacted: no answer"]
