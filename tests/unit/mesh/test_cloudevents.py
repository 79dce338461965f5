"""Facts on the wire are held to the CloudEvents 1.0 specification: by its own words, and by another implementation.

https://github.com/cloudevents/spec: cloudevents/spec.md, cloudevents/bindings/nats-protocol-binding.md
"""

import re
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event, to_binary_event
from cloudevents.core.v1.event import CloudEvent
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from shop.orders.v1.orders_facts_pb2 import OrderCreated

from mesh.cloudevents import Event, NoEvent, announce, receive
from tests.facts import KINDS, ORDER_ID, largest, ordinary

FACT = OrderCreated(order_id=ORDER_ID)
SUBJECT = f"shop.orders.v1.OrderCreated.{ORDER_ID}"
REQUIRED = {"id", "source", "specversion", "type"}
URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?#\[\]-]|%[0-9A-Fa-f]{2})+")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+")
ENCODED = re.compile(r"(?:[!#$&-~]|%[0-9A-F]{2})+")
"""A header value by section 3.1.3.2 of the binding: printable ASCII, with space, quote and percent encoded."""
LARGEST_SIZE = 64 * 1024
"""What every intermediary must forward."""
CAUSES = ["request-1", "a b", 'say "so"', "100%", "%41", "back\\slash", "ä", "注文", "\N{GRINNING FACE}", "x" * 200]
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1)
"""What an attribute of type String may hold: no control characters, no surrogates, no noncharacters."""

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.DESCRIPTOR.name)


def attributes(event: Event) -> dict[str, str]:
    return {name.removeprefix("ce-"): value for name, value in event.headers.items() if name.startswith("ce-")}


def read_by_others(event: Event) -> CloudEvent:
    """The event as the SDK of the CloudEvents project reads it. Its HTTP binding has the rules of the one for NATS."""
    read = from_binary_event(HTTPMessage(event.headers, event.payload))
    assert isinstance(read, CloudEvent)
    return read


@each_kind
def test_a_fact_has_the_required_attributes_and_no_attribute_is_named_wrongly(kind: type[Message]) -> None:
    names = set(attributes(announce(ordinary(kind), "orders", "request-1")))

    assert names >= REQUIRED
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in names)
    assert "data" not in names


@each_kind
@pytest.mark.parametrize("cause", CAUSES)
def test_the_attributes_of_a_fact_have_the_types_that_the_specification_gives_them(
    kind: type[Message], cause: str
) -> None:
    found = attributes(announce(ordinary(kind), "orders", cause))

    assert found["specversion"] == "1.0"
    assert found["type"] == kind.DESCRIPTOR.full_name
    assert URI_REFERENCE.fullmatch(found["source"])
    assert RFC_3339.fullmatch(found["time"])
    assert MEDIA_TYPE.fullmatch(found["datacontenttype"])
    assert [value for value in found.values() if not ENCODED.fullmatch(value)] == []


@each_kind
@pytest.mark.parametrize("cause", CAUSES)
def test_others_read_what_we_announce(kind: type[Message], cause: str) -> None:
    fact = ordinary(kind)
    event = announce(fact, "orders", cause)

    read = read_by_others(event)

    assert (read.get_type(), read.get_source()) == (kind.DESCRIPTOR.full_name, "/services/orders")
    assert read.get_id() == event.headers["Nats-Msg-Id"]
    assert read.get_subject() == ORDER_ID
    assert read.get_datacontenttype() == "application/protobuf"
    assert read.get_extension("causationid") == cause
    time, data = read.get_time(), read.get_data()
    assert time is not None
    assert time.tzinfo is not None
    assert isinstance(data, bytes | str)
    assert kind.FromString(data if isinstance(data, bytes) else data.encode()) == fact


@given(TEXTS)
def test_any_cause_arrives_as_it_was_sent(cause: str) -> None:
    event = announce(FACT, "orders", cause)

    assert ENCODED.fullmatch(event.headers["ce-causationid"])
    assert read_by_others(event).get_extension("causationid") == cause


def test_a_header_is_encoded_as_in_the_example_of_the_specification() -> None:
    headers = announce(FACT, "orders", "Euro € \N{GRINNING FACE}").headers

    assert headers["ce-causationid"] == "Euro%20%E2%82%AC%20%F0%9F%98%80"


@pytest.mark.parametrize("cause", ["", "a\r\nce-id: 1", "\0", "\x85"])
def test_what_no_attribute_may_hold_is_no_cause(cause: str) -> None:
    with pytest.raises(ValueError, match="no cause"):
        announce(FACT, "orders", cause)


@each_kind
def test_the_largest_fact_is_no_larger_than_every_intermediary_forwards(kind: type[Message]) -> None:
    event = announce(largest(kind), "orders", "x" * 200)

    headers = sum(len(f"{name}: {value}\r\n") for name, value in event.headers.items())
    assert len(event.subject) + headers + len(event.payload) < LARGEST_SIZE


def test_handling_the_same_cause_again_makes_the_same_event_and_another_cause_another() -> None:
    first, again, other = (announce(FACT, "orders", cause).headers["ce-id"] for cause in ("a", "a", "b"))

    assert first == again
    assert first != other


@each_kind
def test_a_fact_arrives_as_it_was_announced(kind: type[Message]) -> None:
    event = announce(ordinary(kind), "orders", "request-1")

    received = receive(kind, event.subject, event.headers, event.payload)

    assert received.fact == ordinary(kind)
    assert received.event_id == event.headers["ce-id"]
    assert received.announced_at == event.announced_at


def test_we_read_what_others_announce() -> None:
    time = datetime(2026, 11, 21, 9, 15, tzinfo=UTC)
    written = {
        "id": "their id: 100% \N{GRINNING FACE}",
        "source": "urn:theirs",
        "type": OrderCreated.DESCRIPTOR.full_name,
    }
    message = to_binary_event(CloudEvent({**written, "specversion": "1.0", "time": time}, FACT.SerializeToString()))

    received = receive(OrderCreated, SUBJECT, message.headers, message.body)

    assert (received.event_id, received.announced_at, received.fact) == (written["id"], time, FACT)


@pytest.mark.parametrize(
    ("header", "event_id"),
    [
        ("a%20b", "a b"),
        ("%e2%82%ac", "€"),
        ("%61%62", "ab"),
        ('"a b"', "a b"),
        (r'"say \"so\" \\ %41"', r'say "so" \ A'),
        ("%2541", "%41"),
        ('"', '"'),
    ],
)
def test_an_attribute_is_decoded_once_however_it_was_encoded(header: str, event_id: str) -> None:
    received = receive(OrderCreated, SUBJECT, headers(**{"ce-id": header}), FACT.SerializeToString())

    assert received.event_id == event_id


def test_the_case_of_header_names_does_not_matter() -> None:
    shouted = {name.upper(): value for name, value in headers().items()}

    assert receive(OrderCreated, SUBJECT, shouted, FACT.SerializeToString()).event_id == "1"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"ce-id": "%C0%A0"}, "ce-id is not UTF-8"),
        ({"ce-id": "a%0D%0Ab"}, "ce-id holds control characters"),
        ({"ce-id": ""}, "no ce-id header"),
        ({"ce-type": "shop.orders.v1.OrderLost"}, "ce-type is shop.orders.v1.OrderLost"),
        ({"ce-time": "yesterday"}, "ce-time is no timestamp"),
        ({"ce-time": "2026-11-21T09:15:00"}, "ce-time has no time zone"),
    ],
)
def test_what_is_no_event_is_said_to_be_none(wrong: dict[str, str], reason: str) -> None:
    with pytest.raises(NoEvent, match=reason):
        receive(OrderCreated, SUBJECT, headers(**wrong), FACT.SerializeToString())


@pytest.mark.parametrize("time", ["2026-11-21T09:15:00Z", "2026-11-21t09:15:00.000z", "2026-11-21T10:15:00+01:00"])
def test_a_timestamp_is_read_as_rfc_3339_allows_it_to_be_written(time: str) -> None:
    received = receive(OrderCreated, SUBJECT, headers(**{"ce-time": time}), FACT.SerializeToString())

    assert received.announced_at == datetime(2026, 11, 21, 9, 15, tzinfo=UTC)


def headers(**changed: str) -> dict[str, str]:
    """What has to be there for OrderCreated, and what a test changes of it."""
    return {"ce-id": "1", "ce-type": "shop.orders.v1.OrderCreated", "ce-time": "2026-11-21T09:15:00Z", **changed}
