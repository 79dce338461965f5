"""The tests of traces see what is wrong with one, and are blind to what may differ from run to run."""

from dataclasses import replace
from itertools import permutations

from tests.flaws import flaws
from tests.lost import LOST, Lost, mended
from tests.spans import Link, Span
from tests.trees import drawn

ORDER = "0193a8b0-0000-7000-8000-000000000000"


def span(name: str, kind: str, service: str, parent: Span | None = None, start: int = 0) -> Span:
    """Of one order, named after itself."""
    return Span(
        service=service,
        name=name,
        kind=kind,
        trace_id="t",
        span_id=f"{name} {kind} {service} {start}",
        parent_id=parent.span_id if parent else "",
        attributes={"order.id": ORDER, "shop.mode": "choreographed"},
        status="UNSET",
        message="",
        events=(),
        links=(Link("t", parent.span_id),) if parent and kind == "CONSUMER" else (),
        start=start,
        end=start + 1,
    )


PLACED = span("Place", "SERVER", "customer")
CREATED = span("create Placed.*", "PRODUCER", "customer", PLACED)
SENT = span("send Placed.*", "CLIENT", "customer", CREATED, 1)
HEARD = span("process Placed.*", "CONSUMER", "inventory", CREATED, 2)
ALSO_HEARD = span("process Placed.*", "CONSUMER", "payment", CREATED, 2)
WHOLE = [PLACED, CREATED, SENT, HEARD, ALSO_HEARD]

TREE = """\
Place                   SERVER    customer
└─ create Placed.*      PRODUCER  customer
   ├─ process Placed.*  CONSUMER  inventory  linked
   ├─ process Placed.*  CONSUMER  payment    linked
   └─ send Placed.*     CLIENT    customer
"""


def test_spans_are_drawn_the_same_in_whatever_order_they_arrive() -> None:
    assert {drawn(spans) for spans in permutations(WHOLE)} == {TREE}
    assert flaws(WHOLE, WHOLE) == []


def test_it_does_not_matter_who_was_faster() -> None:
    assert drawn([PLACED, CREATED, replace(SENT, start=9), replace(HEARD, start=8), ALSO_HEARD]) == TREE


def test_what_one_does_itself_is_drawn_in_the_order_of_time() -> None:
    first, second = span("b", "CLIENT", "customer", PLACED, 1), span("a", "CLIENT", "customer", PLACED, 2)

    assert [line.split()[1] for line in drawn([PLACED, second, first]).splitlines()[1:]] == ["b", "a"]


def test_a_fact_that_is_sent_again_or_told_again_in_vain_is_drawn_once() -> None:
    again = replace(SENT, span_id="again", start=5)
    in_vain = replace(HEARD, span_id="in vain", attributes={**HEARD.attributes, "ensemble.outcome": "duplicate"})

    assert drawn([*WHOLE, again, in_vain]) == TREE


def test_a_reaction_that_is_repeated_is_seen() -> None:
    repeat = replace(HEARD, span_id="again", start=5)

    assert drawn([*WHOLE, repeat]).count("process Placed.*  CONSUMER  inventory") == 2


def test_whichever_answer_decides_the_tree_is_the_same() -> None:
    answers = [span(f"process {name}.*", "CONSUMER", "orders", CREATED) for name in ("Released", "Refunded")]
    end = span("create shop.orders.v1.OrderCancelled.*", "PRODUCER", "orders")
    trees = {drawn([*WHOLE, *answers, replace(end, parent_id=answer.span_id)]) for answer in answers}

    assert len(trees) == 1
    assert drawn([*WHOLE, *answers]) not in trees


def test_what_is_to_be_seen_at_a_glance_is_drawn_without_what_differs() -> None:
    said = {**HEARD.attributes, "ensemble.outcome": "dead", "saga.attempt": 1}
    failed = replace(HEARD, status="ERROR", message=f"no order {ORDER}", attributes=said)

    assert "linked  outcome=dead  ERROR no order <id>\n" in drawn([PLACED, CREATED, failed])


def test_an_orphan_is_a_flaw() -> None:
    spans = [PLACED, SENT]

    assert flaws(spans, spans) == ["orphan: send Placed.* CLIENT customer"]


def test_a_second_root_and_a_second_trace_are_flaws() -> None:
    spans = [*WHOLE, replace(PLACED, trace_id="u", span_id="other")]

    assert flaws(spans, spans) == ["2 traces", "2 roots: Place, Place"]


def test_a_link_that_leads_nowhere_is_a_flaw() -> None:
    spans = [PLACED, CREATED, replace(HEARD, links=(Link("u", CREATED.span_id),))]

    assert flaws(spans, spans) == ["a link that leads nowhere: process Placed.* CONSUMER inventory"]


def test_a_span_that_does_not_say_which_order_it_is_about_is_a_flaw() -> None:
    spans = [PLACED, replace(CREATED, attributes={"shop.mode": "choreographed"})]

    assert flaws(spans, spans) == [f"order.id is not the same everywhere: {ORDER}, nothing"]


def test_below_a_saga_every_span_says_which() -> None:
    saga = span("saga place_order", "INTERNAL", "orchestrator", PLACED)
    step = span("step place_order/pay", "INTERNAL", "orchestrator", saga)
    told = replace(saga, attributes={**saga.attributes, "saga.id": ORDER})

    assert flaws([PLACED, told, step], []) == ["no saga.id: step place_order/pay INTERNAL orchestrator"]


def test_what_was_lost_is_drawn_in_its_place() -> None:
    lost = Lost("customer", (("create Placed.*", "PRODUCER"),), below="Place", above="process Placed.*")
    spans = mended([PLACED, HEARD], [lost])

    assert flaws(spans, spans) == []
    assert drawn(spans).splitlines()[1].split() == ["└─", "create", "Placed.*", "PRODUCER", "customer", LOST]


def test_what_was_not_named_as_lost_stays_an_orphan() -> None:
    lost = Lost("customer", (("create Placed.*", "PRODUCER"),), below="Place", above="process Sent.*")

    assert flaws(mended([PLACED, HEARD], [lost]), [CREATED]) == ["orphan: process Placed.* CONSUMER inventory"]
