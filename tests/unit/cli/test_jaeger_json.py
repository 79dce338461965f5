"""Traces as Jaeger's UI loads them."""

import json
from typing import Any

import pytest

from cli.waterfall.jaeger_json import exported
from cli.waterfall.span import Link
from tests.unit.cli.test_trace import NAMES, recorded, span


def only(document: dict[str, Any]) -> dict[str, Any]:
    (trace,) = document["data"]
    return trace


@pytest.mark.parametrize("name", NAMES)
def test_every_span_is_there_with_its_process(name: str) -> None:
    spans = recorded(name)

    trace = only(json.loads(json.dumps(exported(spans))))

    processes = {key: process["serviceName"] for key, process in trace["processes"].items()}
    found = [(each["spanID"], each["operationName"], processes[each["processID"]]) for each in trace["spans"]]
    assert found == [(each.span_id, each.name, each.service) for each in spans]


def test_the_parent_is_the_first_reference_and_is_not_repeated_as_a_link() -> None:
    links = (Link("t", "a"), Link("other", "x"))

    exported_span = only(exported([span("b", "a", links=links)]))["spans"][0]

    assert exported_span["references"] == [
        {"refType": "CHILD_OF", "traceID": "t", "spanID": "a"},
        {"refType": "FOLLOWS_FROM", "traceID": "other", "spanID": "x"},
    ]


def test_a_failure_is_tagged_as_the_ui_expects_it() -> None:
    exported_span = only(exported([span("a", failed=True, message="why")]))["spans"][0]

    assert {"key": "error", "type": "bool", "value": True} in exported_span["tags"]
    assert {"key": "otel.status_description", "type": "string", "value": "why"} in exported_span["tags"]


def test_times_are_microseconds() -> None:
    exported_span = only(exported([span("a", start=3)]))["spans"][0]

    assert (exported_span["startTime"], exported_span["duration"]) == (3_000, 100_000)


def test_an_integer_that_javascript_cannot_hold_is_a_string() -> None:
    exported_span = only(exported([span("a", attributes={"great": 2**60, "small": 7})]))["spans"][0]

    assert {"key": "great", "type": "int64", "value": str(2**60)} in exported_span["tags"]
    assert {"key": "small", "type": "int64", "value": 7} in exported_span["tags"]


def test_two_traces_are_two_entries() -> None:
    assert [each["traceID"] for each in exported([span("a"), span("b", trace_id="u")])["data"]] == ["t", "u"]


def test_a_list_is_written_as_jaeger_writes_it() -> None:
    exported_span = only(exported([span("a", attributes={"entries": ["a", 1]})]))["spans"][0]

    assert {"key": "entries", "type": "string", "value": '["a",1]'} in exported_span["tags"]
