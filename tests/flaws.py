"""What must hold of the trace of every order, whatever its shape."""

from collections.abc import Iterable, Iterator, Mapping

from tests.spans import WORDS, Span

*ALWAYS, SAGA = WORDS


def flaws(spans: Iterable[Span], known: Iterable[Span]) -> list[str]:
    """What is wrong with the spans of one order, in words. `known`: all spans there are, of other traces, too."""
    by_id = {span.span_id: span for span in spans}
    linkable = {(span.trace_id, span.span_id) for span in known}
    return [*_broken(by_id), *_dangling(by_id, linkable), *_silent(by_id)]


def _broken(spans: Mapping[str, Span]) -> Iterator[str]:
    traces = {span.trace_id for span in spans.values()}
    if len(traces) != 1:
        yield f"{len(traces)} traces"
    roots = [span for span in spans.values() if not span.parent_id]
    if len(roots) != 1:
        yield f"{len(roots)} roots: {', '.join(root.name for root in roots)}"
    for span in spans.values():
        if span.parent_id and span.parent_id not in spans:
            yield f"orphan: {span.name} {span.kind} {span.service}"


def _dangling(spans: Mapping[str, Span], linkable: set[tuple[str, str]]) -> Iterator[str]:
    for span in spans.values():
        for link in span.links:
            if (link.trace_id, link.span_id) not in linkable:
                yield f"a link that leads nowhere: {span.name} {span.kind} {span.service}"


def _silent(spans: Mapping[str, Span]) -> Iterator[str]:
    for word in ALWAYS:
        values = {str(span.attributes.get(word, "nothing")) for span in spans.values()}
        if len(values) != 1 or values == {"nothing"}:
            yield f"{word} is not the same everywhere: {', '.join(sorted(values))}"
    for span in spans.values():
        if span.attributes.get(SAGA) is None and any(above.name.startswith("saga ") for above in _line(span, spans)):
            yield f"no {SAGA}: {span.name} {span.kind} {span.service}"


def _line(span: Span, spans: Mapping[str, Span]) -> Iterator[Span]:
    """The span, and those above it."""
    above: Span | None = span
    while above is not None:
        yield above
        above = spans.get(above.parent_id)
