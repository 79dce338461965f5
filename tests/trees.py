"""The shape of a trace, drawn so that two runs of one scenario look the same, and people can read it.

What a span does itself comes one after the other, and is drawn in the order of time. What others do because of it
happens side by side, and is drawn by name.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from tests.spans import Span

MASKS = (
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\bTEST-[0-9A-F]{12}\b"), "<sku>"),
    (re.compile(r"\btrk_[0-9a-f]{32}\b"), "<tracking>"),
)
"""What differs from run to run."""
GOES_WITHOUT_SAYING = {
    "saga.attempt": {1},
    "saga.epoch": {1},
    "saga.outcome": {"STEP_SUCCEEDED", "UNDO_SUCCEEDED"},
    "saga.failure": set[str](),
    "ensemble.outcome": {"done"},
    "rpc.response.status_code": {"OK"},
}
"""Attributes to be seen at a glance, and the values of each that need not be."""
DECIDED_BY_THE_LAST = "create shop.orders.v1.OrderCancelled.*"
"""Order waits until each participant has answered: the last answer decides, and which is the last is a race."""
THE_LAST = "process (the last of those that orders waits for)"


@dataclass
class Node:
    """A span, and what was done because of it."""

    span: Span
    names: dict[str, str]
    """Of all spans that it may be linked to, by id."""
    below: "list[Node]" = field(default_factory=list["Node"])

    @property
    def place(self) -> tuple[str, str, int]:
        """Where it is drawn among its siblings: those of the parent's own process first."""
        span = self.span
        is_of_others = span.kind in ("SERVER", "CONSUMER") or span.name.startswith("send ")
        return (span.name, span.service, span.start) if is_of_others else ("", "", span.start)

    @property
    def remarks(self) -> str:
        """What is to be seen of it at a glance."""
        return "  ".join(_masked(remark) for remark in _remarks(self.span, self.names) if remark)


def drawn(spans: Iterable[Span], known: Iterable[Span] = ()) -> str:
    """The spans as trees. `known`: those of other traces, to which they may be linked."""
    roots = _settled(_planted(_apart(list(spans)), {span.span_id: span.name for span in known}))
    lines = [line for root in roots for line in _lines(root, "", "")]
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(3)]
    padded = ("  ".join(f"{cell:{width}}" for cell, width in zip(line, (*widths, 0), strict=True)) for line in lines)
    return "".join(f"{line.rstrip()}\n" for line in padded)


def _apart(spans: list[Span]) -> list[Span]:
    """The same, with what the last of several reactions decides below a stand-in for the last."""
    ids = {span.span_id for span in spans}
    for decided in [span for span in spans if span.name == DECIDED_BY_THE_LAST]:
        reactions = [span for span in spans if (span.kind, span.service) == ("CONSUMER", decided.service)]
        if len({reaction.name for reaction in reactions}) < 2 or decided.parent_id not in ids:
            continue
        root = next(span for span in spans if span.parent_id not in ids)
        last = replace(decided, name=THE_LAST, kind="CONSUMER", span_id="last", parent_id=root.span_id)
        spans = [span for span in spans if span is not decided] + [last, replace(decided, parent_id=last.span_id)]
    return spans


def _planted(spans: list[Span], names: dict[str, str]) -> list[Node]:
    """The roots."""
    nodes = {span.span_id: Node(span, names) for span in spans}
    roots: list[Node] = []
    for node in nodes.values():
        parent = nodes.get(node.span.parent_id)
        (parent.below if parent else roots).append(node)
    return roots


def _settled(nodes: list[Node]) -> list[Node]:
    """The same in the order in which they are drawn, a fact that was sent again, or told again in vain, once."""
    for node in nodes:
        node.below = _settled(node.below)
    return sorted(_without_repeats(nodes), key=lambda node: node.place)


def _without_repeats(nodes: list[Node]) -> Iterator[Node]:
    sent: set[str] = set()
    for node in nodes:
        if node.span.attributes.get("ensemble.outcome") == "duplicate" or node.span.name in sent:
            continue
        if node.span.name.startswith("send "):
            sent.add(node.span.name)
        yield node


def _lines(node: Node, first: str, rest: str) -> Iterator[tuple[str, str, str, str]]:
    yield f"{first}{node.span.name}", node.span.kind, node.span.service, node.remarks
    for number, child in enumerate(node.below, 1):
        is_last = number == len(node.below)
        yield from _lines(child, f"{rest}{'└─ ' if is_last else '├─ '}", f"{rest}{'   ' if is_last else '│  '}")


def _remarks(span: Span, names: dict[str, str]) -> Iterator[str]:
    links = [link.span_id for link in span.links]
    if span.parent_id in links:
        yield "linked"
    for other in links:
        if other != span.parent_id:
            yield f"linked to {names.get(other, 'nothing')}"
    yield ", ".join(span.attributes.get("saga.entries", ()))
    for name, usual in GOES_WITHOUT_SAYING.items():
        if (value := span.attributes.get(name)) is not None and value not in usual:
            yield f"{name.rpartition('.')[2]}={value}"
    for event in span.events:
        yield f"! {event.name}"
    if span.status != "UNSET":
        yield f"{span.status} {span.message}"


def _masked(text: str) -> str:
    for pattern, name in MASKS:
        text = pattern.sub(name, text)
    return text
