"""The last traces, in memory."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

TRACE_ID_BYTES, SPAN_ID_BYTES = 16, 8


@dataclass
class Trace:
    """What was sent of one trace, so far."""

    trace_id: bytes
    parts: list[ResourceSpans] = field(default_factory=list[ResourceSpans])
    """Each of one process: spans that came together. Never changed once they are here."""
    known: set[int] = field(default_factory=set[int])
    """Hashes of its spans: an export that was not answered in time is repeated."""

    def add(self, resource: ResourceSpans, scope: ScopeSpans, spans: Iterable[Span]) -> int:
        """Add copies of those that are new; returns how many are."""
        before = len(self.known)
        new = [span for span in spans if self._is_new(span)]
        if new:
            kept = ScopeSpans(scope=scope.scope, schema_url=scope.schema_url, spans=new)
            self.parts.append(
                ResourceSpans(resource=resource.resource, schema_url=resource.schema_url, scope_spans=[kept])
            )
        return len(self.known) - before

    def _is_new(self, span: Span) -> bool:
        before = len(self.known)
        self.known.add(hash(span.SerializeToString(deterministic=True)))
        return len(self.known) > before


class Traces:
    """At most `max_spans` spans. What is too much goes by whole traces: first the one that was longest left alone."""

    def __init__(self, max_spans: int) -> None:
        self._max_spans = max_spans
        self._count = 0
        self._traces: OrderedDict[bytes, Trace] = OrderedDict()

    def add(self, sent: Iterable[ResourceSpans]) -> int:
        """Take what a process sent; returns how many spans could not be taken, having no proper ids."""
        refused = 0
        for resource in sent:
            for scope in resource.scope_spans:
                refused += self._add(resource, scope)
        self._evict()
        return refused

    def get(self, trace_id: bytes) -> Trace | None:
        return self._traces.get(trace_id)

    def newest_first(self) -> Iterator[Trace]:
        """By when they were last added to."""
        return reversed(self._traces.values())

    def services(self) -> set[str]:
        """Who has a span in any trace."""
        return {service_of(part) for trace in self._traces.values() for part in trace.parts} - {""}

    def _add(self, resource: ResourceSpans, scope: ScopeSpans) -> int:
        by_trace: defaultdict[bytes, list[Span]] = defaultdict(list)
        for span in scope.spans:
            if _has_ids(span):
                by_trace[span.trace_id].append(span)
        for trace_id, spans in by_trace.items():
            trace = self._traces.setdefault(trace_id, Trace(trace_id))
            self._traces.move_to_end(trace_id)
            self._count += trace.add(resource, scope, spans)
        return len(scope.spans) - sum(map(len, by_trace.values()))

    def _evict(self) -> None:
        while self._count > self._max_spans:
            _, oldest = self._traces.popitem(last=False)
            self._count -= len(oldest.known)


def service_of(part: ResourceSpans) -> str:
    """The name of the service, empty if it did not say."""
    names = (each.value.string_value for each in part.resource.attributes if each.key == "service.name")
    return next(names, "")


def _has_ids(span: Span) -> bool:
    """Whether its ids are of the right length, and not all zeros."""
    lengths = (len(span.trace_id), len(span.span_id)) == (TRACE_ID_BYTES, SPAN_ID_BYTES)
    return lengths and any(span.trace_id) and any(span.span_id)
