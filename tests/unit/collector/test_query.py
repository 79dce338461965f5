"""What can be asked for, and what it finds."""

import json
from typing import Any

import pytest

from collector.query import BadParameter, find, parsed
from collector.store import Traces
from tests.unit.collector.spans import attribute, room_for, sent, span

SECOND = 1_000_000_000
EVER = {"query.start_time_min": "1970-01-01T00:00:00Z", "query.start_time_max": "2100-01-01T00:00:00Z"}


@pytest.fixture
def traces() -> Traces:
    """Three: of an order, of the same order, and of another with a declined payment."""
    traces = room_for(100)
    first = [attribute("order.id", string_value="o1"), attribute("attempt", int_value=2)]
    traces.add([sent(span(1, 1, name="place", start_time_unix_nano=1 * SECOND, attributes=first))])
    traces.add([sent(span(2, 2, name="cancel", start_time_unix_nano=2 * SECOND, attributes=first[:1]))])
    other = [attribute("order.id", string_value="o2"), attribute("declined", bool_value=True)]
    traces.add([sent(span(3, 3, name="pay", start_time_unix_nano=3 * SECOND, attributes=other), service="payment")])
    traces.add([sent(span(3, 4, name="place", start_time_unix_nano=3 * SECOND))])
    return traces


def found(traces: Traces, **asked: str) -> list[int]:
    """Numbers of the traces."""
    query = parsed({**EVER, **{f"query.{name}": text for name, text in asked.items()}})
    return [int.from_bytes(trace.trace_id, "big") for trace in find(traces.newest_first(), query)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [3, 2, 1]),
        ({"num_traces": "2"}, [3, 2]),
        ({"service_name": "payment"}, [3]),
        ({"operation_name": "place"}, [3, 1]),
        ({"service_name": "payment", "operation_name": "place"}, []),
        ({"attributes": '{"order.id": "o1"}'}, [2, 1]),
        ({"attributes": '{"order.id": "o1", "attempt": "2"}'}, [1]),
        ({"attributes": '{"declined": "true"}'}, [3]),
        ({"attributes": '{"service.name": "orders", "order.id": "o2"}'}, []),
        ({"attributes": '{"service.name": "payment"}'}, [3]),
        ({"attributes": '{"order.id": "o3"}'}, []),
        ({"start_time_min": "1970-01-01T00:00:02Z"}, [3, 2]),
        ({"start_time_max": "1970-01-01T01:00:02.0+01:00"}, [2, 1]),
    ],
    ids=str,
)
def test_a_query_finds_traces_that_have_one_span_with_all_of_it(
    traces: Traces, asked: dict[str, str], expected: list[int]
) -> None:
    assert found(traces, **asked) == expected


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"num_traces": "0"}, "malformed parameter query.num_traces"),
        ({"num_traces": "many"}, "malformed parameter query.num_traces"),
        ({"num_traces": "1" + "0" * 30}, "malformed parameter query.num_traces"),
        ({"start_time_min": "yesterday"}, "malformed parameter query.start_time_min"),
        ({"start_time_max": "2026-01-01T00:00:00"}, "has no time zone"),
        ({"attributes": "order.id=o1"}, "not a JSON object of strings"),
        ({"attributes": "[]"}, "not a JSON object of strings"),
        ({"attributes": '{"attempt": 2}'}, "not a JSON object of strings"),
        ({"attributes": "[" * 5000}, "not a JSON object of strings"),
        ({"colour": "red"}, "unknown parameter query.colour"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_says_why(traces: Traces, asked: dict[str, str], problem: str) -> None:
    with pytest.raises(BadParameter, match=problem):
        found(traces, **asked)


@pytest.mark.parametrize("missing", EVER)
def test_a_time_is_asked_for_as_jaeger_does(missing: str) -> None:
    with pytest.raises(BadParameter, match=f"{missing} is required"):
        parsed({name: text for name, text in EVER.items() if name != missing})


def test_numbers_and_truths_are_compared_as_json_writes_them() -> None:
    values: list[tuple[dict[str, Any], str]] = [
        ({"double_value": 1.5}, "1.5"),
        ({"int_value": -3}, "-3"),
        ({"bool_value": False}, "false"),
        ({"string_value": "ünï"}, "ünï"),
    ]
    for value, text in values:
        traces = room_for(10)
        traces.add([sent(span(1, 1, attributes=[attribute("it", **value)]))])

        assert found(traces, attributes=json.dumps({"it": text})) == [1]
