"""What a person is shown of a trace: from recordings of real ones, without what nobody looks at."""

import json
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cli.waterfall.lines import Teller, every_span
from cli.waterfall.marks import Tone
from cli.waterfall.picture import Row, rows_of
from cli.waterfall.show import Traced, show
from cli.waterfall.span import Event, Kind, Link, Span, spans_of
from cli.waterfall.summary import summary_of
from cli.waterfall.svg import svg_of
from cli.waterfall.tree import DEPTH_MAX, grown

RECORDINGS = Path(__file__).parent / "traces"
NAMES = sorted(path.stem for path in RECORDINGS.glob("*.json"))
MILLISECOND = 1_000_000
NO_SERVICE = "refused NO_SERVICE_AREA: the carrier refused shipment create_shipment: no_service_area"


def recorded(name: str) -> list[Span]:
    spans = spans_of(json.loads((RECORDINGS / f"{name}.json").read_text()))
    return sorted(spans, key=lambda span: span.start)


def traced(name: str) -> Traced:
    spans = recorded(name)
    return Traced(summary_of(str(spans[0].attributes["order.id"]), spans), spans)


def rows(spans: Sequence[Span]) -> list[Row]:
    trees = grown(spans)
    teller = Teller(trees)
    return list(rows_of([teller.line(tree) for tree in trees]))


def told(spans: Sequence[Span]) -> list[str]:
    """Who does what, with its branch and the marks."""
    return [
        "  ".join(
            filter(None, [f"{row.line.who}: {row.branch}{row.line.what}", *(mark.text for mark in row.line.marks)])
        )
        for row in rows(spans)
    ]


def printed(*orders: Traced, width: int = 130, every: bool = False) -> list[str]:
    paper = Console(width=width, file=StringIO(), force_terminal=False)
    show(paper, orders, every=every)
    assert isinstance(paper.file, StringIO)
    return paper.file.getvalue().splitlines()


def span(span_id: str, parent: str = "", start: int = 0, **others: object) -> Span:
    """One of a hundred milliseconds, named by its id."""
    made = Span(
        trace_id="t",
        span_id=span_id,
        parent_id=parent,
        name=span_id,
        kind=Kind.INTERNAL,
        start=start * MILLISECOND,
        end=(start + 100) * MILLISECOND,
        resource={"service.name": "orders"},
    )
    return replace(made, **others)  # type: ignore[arg-type]


def test_a_step_and_its_call_are_one_line_of_who_answers() -> None:
    assert told(recorded("refused.orchestrated")) == [
        "customer: PlaceOrder",
        "orchestrator: └ StartSaga",
        "orchestrator:   └ saga place_order",
        "orders:     ├ step create_order",
        "inventory:     ├ step reserve_stock",
        "payment:     ├ step process_payment",
        "sandbox:     │ └ PUT /v1/payments/{key}",
        f"shipping:     ├ step create_shipment  {NO_SERVICE}",
        "sandbox:     │ └ PUT /v1/shipments/{key}  refused 422",
        "payment:     ├ undo process_payment (RefundPayment)",
        "sandbox:     │ └ POST /v1/payments/{key}/cancel",
        "inventory:     ├ undo reserve_stock (ReleaseStock)",
        "orders:     ├ undo create_order (CancelOrder)",
        "orchestrator:     └ saga place_order UNWOUND",
    ]


def test_a_fact_stands_with_who_announces_it_and_with_who_reacts() -> None:
    assert told(recorded("refused.choreographed")) == [
        "customer: PlaceOrder",
        "orders: └ SubmitOrder → OrderCreated",
        "inventory:   └ OrderCreated → InventoryReserved",
        "payment:     └ InventoryReserved → PaymentProcessed",
        "sandbox:       ├ PUT /v1/payments/{key}",
        f"shipping:       └ PaymentProcessed → ShippingFailed  {NO_SERVICE}",
        "sandbox:         ├ PUT /v1/shipments/{key}  refused 422",
        "payment:         ├ ShippingFailed → PaymentRefunded (undo)",
        "sandbox:         │ └ POST /v1/payments/{key}/cancel",
        "inventory:         └ ShippingFailed → InventoryReleased (undo)",
        "orders:           └ InventoryReleased → OrderCancelled (undo)",
    ]


def test_an_event_is_told_with_what_it_is_about() -> None:
    replayed = Event(0, "replayed", {"ensemble.letter": 17})

    assert told([span("a", kind=Kind.CONSUMER, events=(replayed,))]) == ["orders: a  replayed, letter 17"]


def test_undos_refusals_and_failures_differ_in_tone() -> None:
    tones = {row.line.what: row.line.tone for row in rows(recorded("refused.choreographed"))}

    assert tones["OrderCreated → InventoryReserved"] is Tone.PLAIN
    assert tones["ShippingFailed → PaymentRefunded (undo)"] is Tone.UNDONE
    assert tones["PaymentProcessed → ShippingFailed"] is Tone.NOTE
    assert Tone.FAILED in {row.line.tone for row in rows(recorded("flaky.orchestrated"))}


def test_a_second_delivery_is_told_with_why_there_is_one() -> None:
    lines = told(recorded("flaky.choreographed"))

    assert (
        "payment:     ├ InventoryReserved  will be delivered again  "
        "failed Outage: gateway: no definite answer, status 503" in lines
    )
    assert "payment:     └ InventoryReserved → PaymentProcessed  delivery 2" in lines


def test_a_call_that_the_channel_repeats_is_told_each_time() -> None:
    lines = told(recorded("flaky.orchestrated"))

    (step,) = [number for number, line in enumerate(lines) if "step process_payment" in line]
    assert lines[step + 1].startswith("payment:     │ ├ ProcessPayment  failed UNAVAILABLE: ")
    assert "payment:     │ └ ProcessPayment  repeated by the channel, attempt 2" in lines


@pytest.mark.parametrize("name", ["killed.orchestrated", "killed.choreographed"])
def test_what_a_killed_process_began_hangs_on_a_line_that_says_it_is_lost(name: str) -> None:
    spans = recorded(name)

    lines = told(spans)

    (lost,) = [number for number, line in enumerate(lines) if "lost: " in line]
    assert "└" in lines[lost + 1]
    every = [row.line.what for row in rows_of([every_span(tree) for tree in grown(spans)])]
    assert len(every) == len(spans) + 1


def test_lost_steps_hang_on_their_saga_where_they_were_begun() -> None:
    lines = told(recorded("killed.orchestrated"))

    (lost,) = [number for number, line in enumerate(lines) if "lost: " in line]
    assert "step reserve_stock" in lines[lost - 1]
    assert "adopt place_order  taken over by another replica" in lines[lost + 3]


def test_a_step_that_is_tried_again_says_so() -> None:
    first = span("saga s")
    tries = [span(f"try {number}", "saga s", start=number, name="step s/pay") for number in (1, 2)]

    assert told([first, *tries]) == ["orders: saga s", "orders: ├ step pay", "orders: └ step pay  attempt 2"]


def test_a_link_to_elsewhere_is_named_and_one_to_the_parent_is_not() -> None:
    elsewhere, known, parent = Link("other", "x"), Link("t", "b"), Link("t", "a")
    spans = [span("a"), span("b", "a", 1), span("c", "a", 2, links=(elsewhere, known, parent))]

    assert told(spans)[-1] == "orders: └ c  linked to another trace  linked to b of orders"


def test_a_trace_whose_beginning_is_lost_is_shown() -> None:
    assert told([span("a", "gone")]) == ["?: lost: died with its process, or yet to be reported", "orders: └ a"]


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("refused.orchestrated", "CANCELLED", "NO_SERVICE_AREA"),
        ("refused.choreographed", "CANCELLED", "NO_SERVICE_AREA"),
        ("flaky.orchestrated", "COMPLETED", ""),
        ("flaky.choreographed", "COMPLETED", ""),
    ],
)
def test_the_summary_says_what_came_of_the_order(name: str, state: str, reason: str) -> None:
    summary = traced(name).summary

    assert (summary.state, summary.reason, summary.mode) == (state, reason, name.partition(".")[2])


def test_the_reason_is_what_came_first_not_a_refusal_that_followed_from_it() -> None:
    asked = span("c", name="cancel CUSTOMER_REQUEST")
    refusal = Event(0, "refused", {"ensemble.refusal": "PAYMENT_REFUNDED"})
    refused = span("r", "c", 1, name="create PaymentFailed.*", kind=Kind.PRODUCER, failed=True, events=(refusal,))

    assert summary_of("o", [asked, refused]).reason == "CUSTOMER_REQUEST"


def test_the_reason_of_a_saga_that_nobody_answered_is_what_it_failed_for() -> None:
    end = span("e", name="end place_order UNWOUND", attributes={"saga.failure": "DEADLINE_EXCEEDED"})

    assert summary_of("o", [end]).reason == "DEADLINE_EXCEEDED"


def test_a_fact_that_begins_the_trace_is_told_once() -> None:
    fact = span("f", name="create shop.orders.v1.OrderCreated.*", kind=Kind.PRODUCER)
    reaction = span("r", "f", name="process shop.orders.v1.OrderCreated.*", kind=Kind.CONSUMER, failed=True)

    assert told([fact, reaction]) == ["orders: → OrderCreated", "orders: └ OrderCreated  failed"]


def test_an_order_whose_trace_has_no_end_is_not_over() -> None:
    assert summary_of("o", [span("a")]).over_at is None


def test_an_order_is_over_when_it_is_said_to_be_not_when_the_trace_ends() -> None:
    summary = traced("refused.orchestrated").summary

    assert summary.over_at is not None
    assert summary.start < summary.over_at < summary.end


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [60, 80, 130, 250])
@pytest.mark.parametrize("every", [False, True])
def test_no_line_is_wider_than_the_terminal(name: str, width: int, every: bool) -> None:
    assert all(len(line) <= width for line in printed(traced(name), width=width, every=every))


@pytest.mark.parametrize("name", NAMES)
def test_a_narrow_terminal_loses_no_mark(name: str) -> None:
    wide, narrow = (" ".join(printed(traced(name), width=width)) for width in (130, 90))

    for mark in ("delivery 2", "refused 422", "failed 503", "taken over by another replica"):
        assert wide.count(mark) == narrow.count(mark)


def test_a_name_is_cut_rather_than_what_is_said_of_it() -> None:
    name = f"step s/{'long' * 20}"
    spans = [span("a"), span("b", "a", 1, name=name), span("c", "a", 2, name=name)]

    assert "…  attempt 2" in printed(Traced(summary_of("o", spans), spans), width=110)[-1]


def test_a_saga_that_is_stuck_is_said_to_be() -> None:
    undo = span("u", name="undo s/pay", failed=True, attributes={"saga.outcome": "UNDO_STUCK"})

    assert told([undo]) == ["orders: undo pay  stuck  failed"]


def test_bars_are_whole_where_a_trace_lasts_for_minutes() -> None:
    spans = [span("a", end=3_600_000 * MILLISECOND), span("b", "a", 3_599_900)]

    assert [line[-1] for line in printed(Traced(summary_of("o", spans), spans), width=120)[-2:]] == ["━", "━"]


def test_bars_are_in_proportion_to_time() -> None:
    spans = [span("a"), span("b", "a", start=50, end=100 * MILLISECOND)]

    *_, whole, half = printed(Traced(summary_of("o", spans), spans), width=120)
    assert half.count("━") == pytest.approx(whole.count("━") / 2, abs=1)


@pytest.mark.parametrize("width", [130, 250])
def test_two_orders_are_on_one_scale_and_added_up(width: int) -> None:
    one, other = traced("refused.orchestrated"), traced("refused.choreographed")

    lines = printed(one, other, width=width)

    longest = f"{max(each.summary.end - each.summary.start for each in (one, other)) / MILLISECOND:,.1f} ms"
    assert sum(line.count(longest) for line in lines) == 2
    assert lines[-2].split() == ["orchestrated", "CANCELLED", "0.073", "s", "38", "11", "0", "7"]
    assert lines[-1].split() == ["choreographed", "CANCELLED", "0.119", "s", "33", "4", "7", "6"]


def test_every_trace_of_an_order_is_drawn() -> None:
    spans = [span("a"), span("b", trace_id="u")]

    summary = summary_of("o", spans)
    assert summary.traces == ("t", "u")
    assert [line.split()[-2] for line in printed(Traced(summary, spans))[-2:]] == ["a", "b"]


def test_spans_that_are_each_others_parents_are_drawn_from_the_earliest_on() -> None:
    first, second = span("a", parent="b", start=1), span("b", parent="a", start=2)

    (tree,) = grown([first, second])

    assert [node.span.span_id for node in tree.walk()] == ["a", "b"]


def test_a_tree_that_is_too_deep_is_drawn_as_far_as_anybody_would_look() -> None:
    spans = [span(str(number), parent=str(number - 1) if number else "") for number in range(3000)]

    (tree,) = grown(spans)

    assert len([*tree.walk()]) == DEPTH_MAX


def test_hundreds_of_spans_are_drawn() -> None:
    spans = [span("a"), *(span(f"b{number}", "a", start=number) for number in range(1000))]

    assert len(printed(Traced(summary_of("o", spans), spans))) == 1001 + 5


def test_an_svg_fetches_nothing() -> None:
    picture = svg_of([traced("refused.choreographed")])

    assert "url(http" not in picture
    assert "@font-face" not in picture
    assert "ShippingFailed" in picture
