"""Spans that died with their process: named by the test that killed it, and drawn in their place."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.spans import WORDS, Span

LOST = "LOST"
"""The status of what stands in for a span that was lost."""


@dataclass(frozen=True)
class Lost:
    """A chain of spans, each the child of the one before."""

    service: str
    spans: tuple[tuple[str, str], ...]
    """Name and kind of each."""
    below: str
    """Name of the span that the first of them was a child of; empty: it began the trace."""
    above: str
    """Name of the span that the last of them has left without a parent."""


def mended(spans: Iterable[Span], lost: Iterable[Lost]) -> list[Span]:
    """The spans, and something in the place of those that were lost, as far as the others tell of them."""
    whole = list(spans)
    for chain in lost:
        whole += _stand_ins(whole, chain)
    return whole


def _stand_ins(spans: Sequence[Span], lost: Lost) -> Iterator[Span]:
    ids = {span.span_id for span in spans}
    orphan = next((each for each in spans if each.name == lost.above and each.parent_id not in {"", *ids}), None)
    parent_id = next((each.span_id for each in spans if each.name == lost.below), "")
    if orphan is None or bool(lost.below) != bool(parent_id):
        return
    words = {word: value for word, value in orphan.attributes.items() if word in WORDS}
    like = replace(orphan, service=lost.service, status=LOST, message="", attributes=words, events=(), links=())
    for depth, (name, kind) in enumerate(lost.spans, 1):
        span_id = orphan.parent_id if depth == len(lost.spans) else f"{orphan.parent_id}/{depth}"
        yield replace(like, name=name, kind=kind, span_id=span_id, parent_id=parent_id)
        parent_id = span_id
