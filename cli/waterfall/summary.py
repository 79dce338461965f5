"""What a trace comes to: the mode, what came of the order, and how much it took."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cli.waterfall import names
from cli.waterfall.marks import REFUSALS, is_refusal, reason_of
from cli.waterfall.span import Kind, Span

OUTCOMES = {
    "shop.orders.v1.OrderCompleted": "COMPLETED",
    "shop.orders.v1.OrderService/CompleteOrder": "COMPLETED",
    "shop.orders.v1.OrderCancelled": "CANCELLED",
    "shop.orders.v1.OrderService/CancelOrder": "CANCELLED",
}
"""What a fact, or a call that was answered, makes of the order."""
OPEN = "NOT OVER"


@dataclass(frozen=True)
class Summary:
    """Of one order's trace."""

    order_id: str
    mode: str
    state: str
    reason: str
    """What the saga failed for, or the first refusal or cancel; empty where the order was completed."""
    traces: tuple[str, ...]
    """Ids; more than one would be a broken trace."""
    services: tuple[str, ...]
    start: int
    """Of the first span; nanoseconds since the epoch, as are the others."""
    end: int
    """Of the last one to end."""
    over_at: int | None
    """When the order came to its state; None if it has not, as far as the trace tells."""
    spans: int
    calls: int
    """One process asking another, whatever the protocol, and each time that it asks."""
    messages: int
    """Facts announced."""

    @property
    def seconds(self) -> float:
        """From the first span's start to the end of the last."""
        return (self.end - self.start) / 1e9

    @property
    def over_after(self) -> float | None:
        """Seconds until the order came to its state."""
        return None if self.over_at is None else (self.over_at - self.start) / 1e9


def summary_of(order_id: str, spans: Sequence[Span]) -> Summary:
    """What the spans of an order come to; there is at least one, and they are in the order of time."""
    calls = [span for span in spans if span.kind is Kind.CLIENT and not span.name.startswith("send ")]
    over_at, state = max(((span.end, state) for span in spans for state in _states(span)), default=(None, OPEN))
    return Summary(
        order_id=order_id,
        mode=next((str(span.attributes["shop.mode"]) for span in spans if "shop.mode" in span.attributes), "?"),
        state=state,
        reason="" if state == "COMPLETED" else _reason(spans),
        traces=tuple(dict.fromkeys(span.trace_id for span in spans)),
        services=tuple(dict.fromkeys(span.service for span in spans)),
        start=min(span.start for span in spans),
        end=max(span.end for span in spans),
        over_at=over_at,
        spans=len(spans),
        calls=len(calls),
        messages=sum(span.kind is Kind.PRODUCER for span in spans),
    )


def _states(span: Span) -> Iterator[str]:
    what = names.fact_of(span)
    is_done = span.kind is Kind.PRODUCER or (span.kind is Kind.SERVER and not span.failed and not is_refusal(span))
    if is_done and what in OUTCOMES:
        yield OUTCOMES[what]


def _reason(spans: Sequence[Span]) -> str:
    """What the saga failed for; or else what was said first, in the word of who said it rather than in a code."""
    failures = [str(span.attributes["saga.failure"]) for span in spans if "saga.failure" in span.attributes]
    said = [_said(span) for span in sorted(spans, key=lambda span: span.end)]
    words = [word for word in said if word not in REFUSALS and not word.isdecimal()]
    return next(filter(None, [*failures, *words, *said]), "")


def _said(span: Span) -> str:
    """Why somebody refuses, or cancels."""
    verb, _, why = span.name.partition(" ")
    if verb == "cancel":
        return why if why.isupper() else ""
    return reason_of(span) if is_refusal(span) else ""
