"""OTLP/JSON: what readers of traces in other languages rely on."""

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector.otlp_json import resource_spans
from tests.unit.collector.spans import attribute, sent, span

NOW = 1_795_266_044_310_490_571
"""More than a double holds."""


def test_ids_are_hex_enums_numbers_and_64_bits_text() -> None:
    whole = span(
        0xABC,
        0xDEF,
        parent_span_id=b"\xff" * 8,
        name="place",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=NOW,
        end_time_unix_nano=NOW + 1,
        flags=256,
        status=Status(code=Status.STATUS_CODE_ERROR, message="no"),
        links=[Span.Link(trace_id=b"\x01" * 16, span_id=b"\x02" * 8)],
        events=[Span.Event(name="refused", time_unix_nano=NOW)],
    )

    assert resource_spans(sent(whole)) == {
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "orders"}}]},
        "scopeSpans": [
            {
                "spans": [
                    {
                        "traceId": "00000000000000000000000000000abc",
                        "spanId": "0000000000000def",
                        "parentSpanId": "ffffffffffffffff",
                        "name": "place",
                        "kind": 2,
                        "startTimeUnixNano": "1795266044310490571",
                        "endTimeUnixNano": "1795266044310490572",
                        "flags": 256,
                        "status": {"code": 2, "message": "no"},
                        "links": [{"traceId": "01" * 16, "spanId": "02" * 8}],
                        "events": [{"name": "refused", "timeUnixNano": "1795266044310490571"}],
                    }
                ]
            }
        ],
    }


def test_values_keep_their_types_and_their_zeros() -> None:
    attributes = [
        attribute("text", string_value=""),
        attribute("number", int_value=0),
        attribute("large", int_value=2**60),
        attribute("share", double_value=1.5),
        attribute("none", double_value=float("nan")),
        attribute("truth", bool_value=False),
        attribute("bytes", bytes_value=b"\x00\x01"),
        attribute("list", array_value=ArrayValue(values=[AnyValue(int_value=1)])),
    ]

    (scope,) = resource_spans(sent(span(1, 1, attributes=attributes)))["scopeSpans"]

    assert {each["key"]: each["value"] for each in scope["spans"][0]["attributes"]} == {
        "text": {"stringValue": ""},
        "number": {"intValue": "0"},
        "large": {"intValue": "1152921504606846976"},
        "share": {"doubleValue": 1.5},
        "none": {"doubleValue": "NaN"},
        "truth": {"boolValue": False},
        "bytes": {"bytesValue": "AAE="},
        "list": {"arrayValue": {"values": [{"intValue": "1"}]}},
    }


def test_a_root_has_no_parent() -> None:
    (scope,) = resource_spans(sent(span(1, 1)))["scopeSpans"]

    assert scope["spans"] == [{"traceId": "1".zfill(32), "spanId": "1".zfill(16)}]
