"""A trace, told in lines: what belongs together on one, what nobody asks about on none.

- A call is one line, of who answers: the caller's span, the answerer's, and that of a saga's step around both.
- A fact is on the line of who announces it, and on that of each who reacts, with its time on the way.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cli.waterfall import names
from cli.waterfall.marks import Mark, Tone, ending_of, marks_of
from cli.waterfall.span import Kind, Link, Span
from cli.waterfall.tree import Node

JOURNAL = ("append ", "park ")


@dataclass(frozen=True)
class Line:
    """Somebody does something. Moments are nanoseconds since the epoch."""

    who: str
    what: str
    set_out: int
    """When the request, or the fact, left for here; the start, if there was none."""
    start: int
    end: int
    back: int
    """When the answer was back; the end, if nobody waited for it."""
    marks: tuple[Mark, ...] = ()
    below: tuple["Line", ...] = ()

    @property
    def tone(self) -> Tone:
        """The worst of its marks."""
        tones = list(Tone)
        return max((mark.tone for mark in self.marks), key=tones.index, default=Tone.PLAIN)


def every_span(node: Node) -> Line:
    """A line for each span, by the name that it has."""
    span, below = node.span, tuple(every_span(child) for child in node.children)
    what = names.LOST if node.lost else f"{span.name} {span.kind.name}"
    marks = _lost(node) or (*marks_of(span), ending_of(span))
    return Line(span.service, what, span.start, span.start, span.end, span.end, tuple(filter(None, marks)), below)


class Teller:
    """Tells of one order's spans."""

    def __init__(self, trees: Iterable[Node]) -> None:
        self.left_out: Counter[str] = Counter()
        """What is not told, and how often."""
        self._spans = {node.span.span_id: node.span for tree in trees for node in tree.walk()}
        self._attempts: Counter[str] = Counter()

    def line(self, node: Node) -> Line:
        """What the span is about, told with what belongs to it; and the lines below."""
        chain = _chain(node)
        spans = [each.span for each in chain]
        rest = chain if _is_fact(node) else [child for each in chain for child in each.children if child not in chain]
        facts = [each for each in rest if _is_fact(each)]
        below = [*self._lines(each for each in rest if not _is_fact(each)), *self._reactions(facts)]
        return Line(
            who=spans[-1].service,
            what=names.LOST if node.lost else names.what(spans, [fact.span for fact in facts]),
            set_out=spans[0].start,
            start=spans[-1].start,
            end=spans[-1].end,
            back=spans[0].end,
            marks=tuple(dict.fromkeys([*_lost(node), *self._marks(spans), *_announced(facts)])),
            below=tuple(sorted(below, key=lambda line: line.set_out)),
        )

    def _lines(self, nodes: Iterable[Node]) -> Iterator[Line]:
        for node in nodes:
            if node.span.name.startswith(JOURNAL) and not node.span.failed:
                self.left_out["writes of the saga's journal"] += 1
                yield from self._lines(node.children)
            else:
                yield self.line(node)

    def _reactions(self, facts: Iterable[Node]) -> Iterator[Line]:
        """What came of the facts; but not who only took note."""
        for fact in facts:
            for node in fact.children:
                if node.span.name.startswith("send ") and not node.span.failed:
                    continue
                line = self.line(node)
                if line.below or line.marks or names.event(names.fact_of(node.span)) != line.what:
                    yield replace(line, set_out=min(fact.span.end, line.start))
                else:
                    self.left_out["reactions that only took note"] += 1

    def _marks(self, spans: Sequence[Span]) -> Iterator[Mark]:
        for span in spans:
            yield from marks_of(span)
            yield from (self._linked(link) for link in span.links if link.span_id != span.parent_id)
        yield from self._repeated(spans[0])
        # Of one refusal the step says most, then who refuses, then who asked.
        told = [spans[0], *reversed(spans[1:])] if spans[0].name.startswith(names.STEPS) else reversed(spans)
        yield from [mark for mark in map(ending_of, told) if mark][:1]

    def _repeated(self, span: Span) -> Iterator[Mark]:
        if span.name.startswith(names.STEPS):
            self._attempts[span.name] += 1
            if (attempt := self._attempts[span.name]) > 1:
                yield Mark(Tone.NOTE, f"attempt {attempt}")

    def _linked(self, link: Link) -> Mark:
        known = self._spans.get(link.span_id)
        return Mark(Tone.NOTE, f"linked to {known.name} of {known.service}" if known else "linked to another trace")


def _is_fact(node: Node) -> bool:
    return node.span.kind is Kind.PRODUCER


def _chain(node: Node) -> list[Node]:
    """The spans of one call, from the outermost in."""
    chain = [node]
    while (kind := _inner(chain[-1].span)) is not None:
        inner = [child for child in chain[-1].children if child.span.kind is kind and not child.lost]
        if len(inner) != 1:
            break
        chain += inner
    return chain


def _inner(span: Span) -> Kind | None:
    """What the next span of a call is."""
    if span.kind is Kind.CLIENT:
        return Kind.SERVER
    return Kind.CLIENT if span.name.startswith(names.STEPS) else None


def _announced(facts: Iterable[Node]) -> Iterator[Mark]:
    for fact in facts:
        if names.fact_of(fact.span) in names.UNDOING:
            yield Mark(Tone.UNDONE)
        if (mark := ending_of(fact.span)) is not None:
            yield mark


def _lost(node: Node) -> tuple[Mark, ...]:
    return (Mark(Tone.FAILED),) if node.lost else ()
