"""Spans as a tree: each below its parent, also where that was never exported."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cli.waterfall.span import Kind, Span

DEPTH_MAX = 100
"""Levels of a tree; what is deeper is left out. An order has some twenty."""


@dataclass(frozen=True)
class Node:
    """A span and what it led to, in the order of time."""

    span: Span
    children: Sequence["Node"]
    lost: bool = False
    """Whether the span itself was never seen: somebody names it as the parent."""

    def walk(self) -> Iterator["Node"]:
        """Itself and all below."""
        yield self
        for child in self.children:
            yield from child.walk()


def grown(spans: Sequence[Span]) -> list[Node]:
    """The trees of the spans; one, if all of them are of one trace and its first span is there."""
    spans = _rooted(spans)
    missing = _stand_ins(spans)
    everything = [*spans, *missing]
    lost, children = {span.span_id for span in missing}, defaultdict[str, list[Span]](list)
    for span in everything:
        children[span.parent_id].append(span)

    def node(span: Span, depth: int) -> Node:
        below = children[span.span_id] if depth < DEPTH_MAX else []
        nodes = [node(child, depth + 1) for child in sorted(below, key=lambda child: child.start)]
        return Node(span, nodes, span.span_id in lost)

    return [node(span, 1) for span in sorted(children[""], key=lambda span: span.start)]


def _rooted(spans: Sequence[Span]) -> list[Span]:
    """The same, with a beginning where spans are each other's parents in a ring."""
    parents = {span.span_id: span.parent_id for span in spans}
    rooted: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        seen, parent = {span.span_id}, span.parent_id
        while parent in parents and parent not in seen:
            seen.add(parent)
            parent = parents[parent]
        is_in_ring = parent == span.span_id
        if is_in_ring:
            parents[span.span_id] = ""
        rooted.append(replace(span, parent_id="") if is_in_ring else span)
    return rooted


def _stand_ins(spans: Sequence[Span]) -> list[Span]:
    """A span for each that is named as a parent and is not there, as long as its children."""
    known, orphans = {span.span_id for span in spans}, defaultdict[str, list[Span]](list)
    for span in spans:
        if span.parent_id and span.parent_id not in known:
            orphans[span.parent_id].append(span)
    return [_stand_in(parent_id, children, spans) for parent_id, children in orphans.items()]


def _stand_in(span_id: str, children: Sequence[Span], spans: Sequence[Span]) -> Span:
    first = min(children, key=lambda span: span.start)
    return Span(
        trace_id=first.trace_id,
        span_id=span_id,
        parent_id=_home(first, spans),
        name="lost",
        kind=Kind.UNSPECIFIED,
        start=first.start,
        end=max(span.end for span in children),
        resource={},
    )


def _home(orphan: Span, spans: Sequence[Span]) -> str:
    """What the lost parent of an orphan hangs on: the saga, as all its steps do, or else the beginning."""
    earlier = [span for span in spans if span.trace_id == orphan.trace_id and span.start <= orphan.start]
    sagas = [span for span in earlier if span.name.startswith("saga ")]
    roots = [span for span in earlier if not span.parent_id]
    return next((span.span_id for span in [*sagas, *roots]), "")
