"""What the three signals say, and what they must not say."""

import re
from collections.abc import AsyncGenerator, Iterable

import pytest

from tests import registry, signals
from tests.signals import PERSON, Told
from tests.unit.test_logs_documented import documented

pytestmark = [pytest.mark.system, pytest.mark.own_shop]

OURS = registry.ours()
CURRENT, _ = registry.conventions()
OF_THE_SDK = {"exception.escaped"}
"""Deprecated, and still written by OpenTelemetry's SDK on each exception."""
LINES = {"orchestrated": {"rpc", "step", "request"}, "choreographed": {"rpc", "fact", "request"}}
"""The canonical lines of an order, by its mode."""
HEX = re.compile(r"[0-9a-f]+")


@pytest.fixture(scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Told]:
    """A day of a shop."""
    async with signals.told(tmp_path_factory.mktemp("signals")) as told:
        yield told


def test_the_day_was_one_that_could_have_told(told: Told) -> None:
    codes = {line.get("rpc.response.status_code") for line in told.lines}
    outcomes = {line.get("ensemble.outcome") for line in told.lines}

    assert codes >= {"OK", "INVALID_ARGUMENT", "ALREADY_EXISTS"}
    assert outcomes >= {"done", "dead"}
    assert bearing("violates check constraint", told.logs["postgres"])
    assert any(point.metric == "messaging.process.duration" for point in told.points)


def bearing(secret: str, texts: Iterable[str]) -> list[str]:
    return [text for text in texts if secret.lower() in text.lower()]


@pytest.mark.parametrize("secret", PERSON.values(), ids=PERSON)
def test_no_signal_says_who_the_customer_is(told: Told, secret: str) -> None:
    assert bearing(secret, map(repr, told.spans)) == []
    assert bearing(secret, map(repr, told.points)) == []
    assert bearing(secret, (line for lines in told.logs.values() for line in lines)) == []


def test_what_a_client_claims_to_be_its_story_is_not_believed(told: Told) -> None:
    assert bearing("forged", map(repr, told.spans)) == []
    assert bearing("forged", map(repr, told.lines)) == []


def test_every_attribute_is_known_and_of_its_type(told: Told) -> None:
    attributes = [
        *((name, value) for span in told.spans for name, value in span.attributes.items()),
        *((name, value) for span in told.spans for event in span.events for name, value in event.attributes.items()),
        *((name, value) for point in told.points for name, value in point.attributes.items()),
        *((name, value) for line in told.lines for name, value in line.items() if "." in name),
    ]

    assert {name for name, _ in attributes} - OURS.keys() - CURRENT == OF_THE_SDK
    assert {(name, value) for name, value in attributes if name in OURS and not OURS[name].allows(value)} == set()


def test_no_point_bears_an_id(told: Told) -> None:
    attributes = {name for point in told.points for name in point.attributes}

    assert attributes.isdisjoint({"order.id", "saga.id", "messaging.message.id", "messaging.destination.name"})


def test_every_line_is_json_with_an_event_a_level_and_a_time(told: Told) -> None:
    assert all({"event", "level", "timestamp"} <= line.keys() for line in told.lines)


def test_every_line_is_of_a_documented_event_or_of_a_library(told: Told) -> None:
    assert [line for line in told.lines if line["event"] not in documented() and "logger" not in line] == []


def test_an_order_has_lines_of_each_kind_in_its_one_trace(told: Told) -> None:
    for order_id, mode in told.orders.items():
        lines = told.lines_of(order_id)
        own = [line for line in lines if not line.get("rpc.method", "").startswith("shop.customer.v1.")]

        assert {line["event"] for line in own} >= LINES[mode] - {"request"}
        assert {line["shop.mode"] for line in lines} == {mode}
        assert len({line["trace_id"] for line in own}) == 1
        assert all(HEX.fullmatch(line["span_id"]) for line in lines)


def test_the_outside_world_hears_of_the_order_too(told: Told) -> None:
    requests = [line for line in told.lines if line["event"] == "request" and "order.id" in line]

    assert {line["shop.mode"] for line in requests} == set(LINES)
    assert {line["http.request.method"] for line in requests} == {"PUT", "POST"}


def test_each_call_of_the_customer_says_which_order_it_is_about(told: Told) -> None:
    calls = [line for line in told.lines if line.get("rpc.method", "").startswith("shop.customer.v1.")]
    done = [line for line in calls if line["rpc.response.status_code"] == "OK"]

    assert {line["rpc.method"].rpartition("/")[2] for line in done} >= {"PlaceOrder", "WatchOrder", "CancelOrder"}
    assert all("order.id" in line and "shop.mode" in line for line in done)


def test_whatever_is_done_for_a_saga_says_so(told: Told) -> None:
    sagas = [order_id for order_id, mode in told.orders.items() if mode == "orchestrated"]
    calls = [line for order_id in sagas for line in told.lines_of(order_id) if line["event"] in {"step", "request"}]

    assert calls
    assert all(line["saga.id"] == line["order.id"] for line in calls)


def test_every_attempt_has_a_line_with_what_came_of_it(told: Told) -> None:
    steps = [line for line in told.lines if line["event"] == "step"]
    fields = {"saga.workflow", "saga.step", "saga.verb", "saga.outcome", "saga.attempt", "saga.epoch", "duration_ms"}

    assert {line["saga.verb"] for line in steps} == {"step", "undo"}
    assert all(fields <= line.keys() for line in steps)
    spans = {span.span_id: span.name for span in told.spans}
    for line in steps:
        assert spans[line["span_id"]] == f"{line['saga.verb']} {line['saga.workflow']}/{line['saga.step']}"
