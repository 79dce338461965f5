import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from mesh.telemetry import tracing
from mesh.telemetry.tracing import BaggageAttributes

ELSEWHERE = {"traceparent": f"00-{7:032x}-{7:016x}-01", "baggage": "order.id=1"}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(BaggageAttributes())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "tracer", provider.get_tracer("test"))
    return exporter


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_what_is_taken_up_again_is_in_its_own_trace_and_linked_to_whoever_took_it_up(
    spans: InMemorySpanExporter,
) -> None:
    with tracing.tracer.start_as_current_span("asker"), tracing.continued(ELSEWHERE, "cancel"):
        pass

    found = by_name(spans)
    cancel, asker = found["cancel"], found["asker"].context
    assert cancel.context is not None
    assert cancel.context.trace_id == 7
    assert cancel.parent is not None
    assert cancel.parent.span_id == 7
    assert [link.context.span_id for link in cancel.links] == [asker.span_id if asker else None]
    assert dict(cancel.attributes or {}) == {"order.id": "1"}


def test_within_its_own_trace_it_is_the_child_of_whoever_took_it_up(spans: InMemorySpanExporter) -> None:
    with tracing.continued(ELSEWHERE, "outer"), tracing.continued(ELSEWHERE, "inner"):
        pass

    inner, outer = by_name(spans)["inner"], by_name(spans)["outer"].context
    assert inner.parent is not None
    assert outer is not None
    assert inner.parent.span_id == outer.span_id
    assert not inner.links


def test_the_words_of_a_story_are_on_each_span_below_and_travel_as_baggage(spans: InMemorySpanExporter) -> None:
    with tracing.story(order__id="1"):
        headers = tracing.inject()
        with tracing.calling("out", {}):
            pass

    assert headers["baggage"] == "order.id=1"
    assert dict(by_name(spans)["out"].attributes or {}) == {"order.id": "1"}


def test_a_strangers_trace_is_gone_on_with_and_his_baggage_is_dropped() -> None:
    context = tracing.extract_from_stranger(ELSEWHERE)

    assert trace.get_current_span(context).get_span_context().trace_id == 7
    assert baggage.get_all(context) == {}


def test_what_fails_says_so(spans: InMemorySpanExporter) -> None:
    with tracing.calling("out", {}) as span:
        tracing.failed(span, "503")

    failed = by_name(spans)["out"]
    assert failed.status.status_code is StatusCode.ERROR
    assert dict(failed.attributes or {}) == {"error.type": "503"}


@pytest.mark.parametrize(
    ("flags", "recorded"), [("00", False), ("01", True), ("02", False), ("03", True)], ids=["no", "yes", "no2", "yes2"]
)
def test_a_trace_is_recorded_if_its_flag_is_set_whatever_the_other_flag_says(flags: str, recorded: bool) -> None:
    assert tracing.is_sampled({"traceparent": f"00-{1:032x}-{1:016x}-{flags}"}) == recorded


def test_where_there_is_no_trace_nothing_is_recorded() -> None:
    assert not tracing.is_sampled({})


def test_of_a_stranger_only_the_trace_goes_on() -> None:
    token = attach(tracing.extract_from_stranger({**ELSEWHERE, "tracestate": "vendor=" + "x" * 250}))
    try:
        assert tracing.inject() == {"traceparent": ELSEWHERE["traceparent"]}
    finally:
        detach(token)
