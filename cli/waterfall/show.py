"""Traces on a terminal: one, or two on the same scale with what each comes to."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Console
from rich.text import Text

from cli.output import styled, table
from cli.waterfall import picture
from cli.waterfall.lines import Line, Teller, every_span
from cli.waterfall.span import Span
from cli.waterfall.summary import Summary
from cli.waterfall.tree import grown

BESIDE = 190
"""Columns from which on two waterfalls stand side by side."""
BETWEEN = "   "


@dataclass(frozen=True)
class Traced:
    """An order and its spans, in the order of time."""

    summary: Summary
    spans: Sequence[Span]


def show(console: Console, orders: Sequence[Traced], *, every: bool) -> None:
    """Print the waterfall of each order; `every` span on a line of its own, or what belongs together on one."""
    is_beside = len(orders) > 1 and console.width >= BESIDE
    width = (console.width - len(BETWEEN)) // 2 if is_beside else console.width
    drawn = _drawn(orders, width, every=every)
    for text in _beside(*drawn, width=width) if is_beside else _stacked(drawn):
        console.print(text, no_wrap=True, overflow="ellipsis")
    if len(orders) > 1:
        _print_totals(console, [order.summary for order in orders])


def _drawn(orders: Sequence[Traced], width: int, *, every: bool) -> list[list[Text]]:
    """Each order's picture, all in the same frame."""
    told = [_told(order, every=every) for order in orders]
    rows = [list(picture.rows_of(lines)) for lines, _ in told]
    nanoseconds = max(order.summary.end - order.summary.start for order in orders)
    frame = picture.framed([row for each in rows for row in each], nanoseconds, width)
    colours = picture.colours_of(span.service for order in orders for span in order.spans)
    return [
        [*_header(order.summary), *picture.drawn(of_order, order.summary.start, frame, colours), *_left_out(left_out)]
        for order, of_order, (_, left_out) in zip(orders, rows, told, strict=True)
    ]


def _told(order: Traced, *, every: bool) -> tuple[list[Line], Counter[str]]:
    """The lines of an order, and what is on none of them."""
    trees = grown(order.spans)
    if every:
        return [every_span(tree) for tree in trees], Counter()
    teller = Teller(trees)
    return [teller.line(tree) for tree in trees], teller.left_out


def _header(summary: Summary) -> Iterator[Text]:
    yield Text(f"order {summary.order_id}  {summary.mode}")
    after = "yet" if summary.over_after is None else f"after {summary.over_after:.3f} s"
    yield styled(summary.state) + Text(f" {after} {summary.reason}".rstrip(), style="default")
    counts = f"{summary.spans} spans of {len(summary.services)} services in {summary.seconds:.3f} s"
    yield Text(f"trace {', '.join(summary.traces)}  {counts}", style="dim")
    yield Text()


def _left_out(kinds: Counter[str]) -> Iterator[Text]:
    if kinds:
        counts = ", ".join(f"{count} {what}" for what, count in kinds.items())
        yield Text(f"not shown: {counts}; --all shows every span", style="dim")


def _stacked(drawn: Iterable[Iterable[Text]]) -> Iterator[Text]:
    for number, texts in enumerate(drawn):
        if number:
            yield Text()
        yield from texts


def _beside(left: Sequence[Text], right: Sequence[Text], width: int) -> Iterator[Text]:
    for one, other in zip_longest(left, right, fillvalue=Text()):
        padded = one.copy()
        padded.truncate(width, overflow="ellipsis", pad=True)
        yield padded + Text(BETWEEN) + other


def _print_totals(console: Console, summaries: Sequence[Summary]) -> None:
    shown = table("", "outcome", "after>", "spans>", "calls>", "messages>", "services>")
    for each in summaries:
        counts = map(str, (each.spans, each.calls, each.messages, len(each.services)))
        after = "-" if each.over_after is None else f"{each.over_after:.3f} s"
        shown.add_row(each.mode, styled(each.state), after, *counts)
    console.print()
    console.print(shown)
