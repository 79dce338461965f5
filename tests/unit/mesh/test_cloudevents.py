from datetime import datetime

from shop.orders.v1.orders_facts_pb2 import OrderCreated

from mesh.cloudevents import announce

FACT = OrderCreated(order_id="0193a8b0-0000-7000-8000-000000000000")


def test_the_required_attributes_of_cloudevents_are_headers() -> None:
    event = announce(FACT, "orders", "request-1")

    assert event.headers["ce-specversion"] == "1.0"
    assert event.headers["ce-type"] == "shop.orders.v1.OrderCreated"
    assert event.headers["ce-source"] == "/services/orders"
    assert event.headers["ce-datacontenttype"] == "application/protobuf"
    assert event.headers["ce-id"] == event.headers["Nats-Msg-Id"]
    assert datetime.fromisoformat(event.headers["ce-time"]).tzinfo is not None
    assert OrderCreated.FromString(event.payload) == FACT


def test_handling_the_same_cause_again_makes_the_same_event_and_another_cause_another() -> None:
    first, again, other = (announce(FACT, "orders", cause).headers["ce-id"] for cause in ("a", "a", "b"))

    assert first == again
    assert first != other


def test_header_values_are_plain_ascii_whatever_the_cause_is() -> None:
    headers = announce(FACT, "orders", "ä\r\nb").headers

    assert all(value.isascii() and value.isprintable() for value in headers.values())
