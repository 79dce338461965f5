"""The last traces, in memory."""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

TRACE_ID_BYTES, SPAN_ID_BYTES = 16, 8
OVERHEAD_BYTES = 2_200
"""Of memory, that a span takes beside what it is on the wire; measured."""
NO_IDS = "a span needs a trace_id of 16 bytes and a span_id of 8, not all of them zero"
TOO_LARGE = "the trace is larger than what is kept of one"


@dataclass
class Trace:
    """What was sent of one trace, so far."""

    trace_id: bytes
    parts: list[ResourceSpans] = field(default_factory=list[ResourceSpans])
    """Each of one process: spans that came together. Never changed once they are here."""
    size: int = 0
    """Bytes of memory that it takes, about."""
    _known: set[int] = field(default_factory=set[int])
    """Hashes of its spans: an export that was not answered in time is repeated."""

    def add(self, resource: ResourceSpans, scope: ScopeSpans, spans: Iterable[Span], max_size: int) -> int:
        """Add copies of those that are new, as long as there is room; returns for how many there was none."""
        part = ResourceSpans(resource=resource.resource, schema_url=resource.schema_url)
        kept = part.scope_spans.add(scope=scope.scope, schema_url=scope.schema_url)
        size, refused = self.size + part.ByteSize(), 0
        for span in spans:
            written = span.SerializeToString(deterministic=True)
            if (key := hash(written)) in self._known:
                continue
            if size + len(written) + OVERHEAD_BYTES > max_size:
                refused += 1
                continue
            size += len(written) + OVERHEAD_BYTES
            self._known.add(key)
            kept.spans.append(span)
        if kept.spans:
            self.parts.append(part)
            self.size = size
        return refused


class Traces:
    """At most `max_size` bytes of them. What is too much goes by whole traces: first the one longest left alone.

    Of one trace at most `max_trace_size` are kept, so that one that never ends does not drive out all others.
    """

    def __init__(self, max_size: int, max_trace_size: int) -> None:
        self._max_size = max_size
        self._max_trace_size = max_trace_size
        self._size = 0
        self._traces: OrderedDict[bytes, Trace] = OrderedDict()

    def add(self, sent: Iterable[ResourceSpans]) -> Counter[str]:
        """Take what a process sent; returns why spans could not be taken, and how many."""
        refused = Counter[str]()
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
        return {service_of(part) for trace in self._traces.values() for part in trace.parts}

    def _add(self, resource: ResourceSpans, scope: ScopeSpans) -> Counter[str]:
        by_trace: defaultdict[bytes, list[Span]] = defaultdict(list)
        refused = Counter[str]()
        for span in scope.spans:
            if _has_ids(span):
                by_trace[span.trace_id].append(span)
            else:
                refused[NO_IDS] += 1
        for trace_id, spans in by_trace.items():
            trace = self._traces.setdefault(trace_id, Trace(trace_id))
            self._traces.move_to_end(trace_id)
            before = trace.size
            refused[TOO_LARGE] += trace.add(resource, scope, spans, self._max_trace_size)
            self._size += trace.size - before
        return +refused

    def _evict(self) -> None:
        while self._size > self._max_size:
            _, oldest = self._traces.popitem(last=False)
            self._size -= oldest.size


def service_of(part: ResourceSpans) -> str:
    """The name of the service, empty if it did not say."""
    names = (each.value.string_value for each in part.resource.attributes if each.key == "service.name")
    return next(names, "")


def _has_ids(span: Span) -> bool:
    """Whether its ids are of the right length, and not all zeros."""
    lengths = (len(span.trace_id), len(span.span_id)) == (TRACE_ID_BYTES, SPAN_ID_BYTES)
    return lengths and any(span.trace_id) and any(span.span_id)
