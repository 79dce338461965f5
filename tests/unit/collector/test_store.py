"""The last traces are kept, whole."""

from collections import Counter

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.store import NO_IDS, OVERHEAD_BYTES, TOO_LARGE, Traces
from tests.unit.collector.spans import room_for, sent, span, trace_id


def numbers(traces: Traces, trace: int) -> list[int]:
    """The spans that are kept of a trace."""
    found = traces.get(trace_id(trace))
    parts = found.parts if found else []
    return [int.from_bytes(each.span_id, "big") for part in parts for scope in part.scope_spans for each in scope.spans]


def test_what_several_processes_send_of_a_trace_is_one_trace() -> None:
    traces = room_for(10)

    traces.add([sent(span(1, 1), span(2, 2), span(1, 3)), sent(span(1, 4), service="payment")])
    traces.add([sent(span(1, 5))])

    assert numbers(traces, 1) == [1, 3, 4, 5]
    assert numbers(traces, 2) == [2]
    assert traces.services() == {"orders", "payment"}


def test_what_is_too_much_goes_by_whole_traces_and_first_the_one_longest_left_alone() -> None:
    traces = room_for(4)
    traces.add([sent(span(1, 1))])
    traces.add([sent(span(2, 2), span(2, 3))])
    traces.add([sent(span(1, 4))])

    traces.add([sent(span(3, 5))])

    assert traces.get(trace_id(2)) is None
    assert (numbers(traces, 1), numbers(traces, 3)) == ([1, 4], [5])
    assert [each.trace_id for each in traces.newest_first()] == [trace_id(3), trace_id(1)]


def test_a_trace_that_does_not_end_is_cut_and_drives_out_no_other() -> None:
    traces = Traces(room := 100 * (OVERHEAD_BYTES + 100), room // 10)
    traces.add([sent(span(2, 1))])

    refused = sum((traces.add([sent(span(1, number + 1))]) for number in range(200)), Counter[str]())

    assert numbers(traces, 1) == list(range(1, 11))
    assert numbers(traces, 2) == [1]
    assert refused == {TOO_LARGE: 190}


def test_large_spans_take_as_much_room_as_they_are_large() -> None:
    traces = room_for(10)

    for trace in range(5):
        traces.add([sent(span(trace + 1, 1, name="x" * 5 * OVERHEAD_BYTES))])

    assert len(list(traces.newest_first())) == 1


def test_room_that_was_made_is_used() -> None:
    traces = room_for(3)

    for trace in range(100):
        traces.add([sent(span(trace + 1, 1))])

    assert len(list(traces.newest_first())) == 3


def test_spans_that_are_sent_again_are_there_once() -> None:
    traces = room_for(2)

    for _ in range(3):
        traces.add([sent(span(1, 1), span(1, 2))])

    assert numbers(traces, 1) == [1, 2]


@pytest.mark.parametrize(
    "bad",
    [
        Span(trace_id=b"short", span_id=b"12345678"),
        Span(trace_id=bytes(16), span_id=b"12345678"),
        Span(trace_id=trace_id(1)),
        Span(trace_id=trace_id(1), span_id=bytes(8)),
        Span(),
    ],
    ids=str,
)
def test_a_span_without_proper_ids_is_refused_and_those_beside_it_are_kept(bad: Span) -> None:
    traces = room_for(10)

    refused = traces.add([sent(span(1, 1), bad, span(1, 2))])

    assert refused == {NO_IDS: 1}
    assert numbers(traces, 1) == [1, 2]


def test_what_is_kept_does_not_change_with_what_was_sent() -> None:
    traces = room_for(10)
    request = sent(span(1, 1))
    traces.add([request])

    request.scope_spans[0].spans[0].span_id = (2).to_bytes(8, "big")

    assert numbers(traces, 1) == [1]
