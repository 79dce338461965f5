"""What a reader must not miss about a span, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from cli.waterfall.span import Event, Kind, Span

REFUSALS = {"FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "STEP_REFUSED"}
"""Of the codes and outcomes that are answers: somebody says no."""
STUCK = "UNDO_STUCK"
"""The outcome of an undo that an operator has to see to."""
CODES = ("error.type", "rpc.response.status_code", "http.response.status_code")
"""Attributes that say why, the most telling first."""
DELIVERIES = {
    "duplicate": "was handled before",
    "later": "will be delivered again",
    "again": "will be sent again",
    "alone": "will be handled alone",
    "dead": "is a dead letter now",
}
"""What came of a fact's delivery that did not just succeed."""
SENT_AGAIN = ("again.", "alone.")
"""What the subject of a fact begins with that was sent once more, to one service."""
VERBS = {"adopt": "taken over by another replica", "hand": "the front door had died", "cancel": ""}
"""First words of what is out of the ordinary by its name alone, and what there is to say."""


class Tone(Enum):
    """How bad it is; a style of the terminal."""

    PLAIN = ""
    UNDONE = "magenta"
    NOTE = "yellow"
    """Out of the ordinary, and as it should be: a refusal, a repetition."""
    FAILED = "red"


@dataclass(frozen=True)
class Mark:
    """A few words about a span; none, where its name says it."""

    tone: Tone
    text: str = ""

    @property
    def is_long(self) -> bool:
        """Whether it explains."""
        return ": " in self.text


def marks_of(span: Span) -> Iterator[Mark]:
    """Everything out of the ordinary, but for how it ended."""
    verb = span.name.partition(" ")[0]
    if verb == "undo":
        yield Mark(Tone.UNDONE)
    elif verb in VERBS and span.kind is Kind.INTERNAL:
        yield Mark(Tone.NOTE, VERBS[verb])
    if span.attributes.get("saga.outcome") == STUCK:
        yield Mark(Tone.FAILED, "stuck")
    if span.kind is Kind.CONSUMER:
        yield from _of_delivery(span)
    for event in span.events:
        if event.name not in ("exception", "refused"):  # the status and the code tell of these
            yield Mark(Tone.NOTE, _words(event))


def ending_of(span: Span) -> Mark | None:
    """That it was refused, or failed, and why."""
    if is_refusal(span):
        return Mark(Tone.NOTE, f"refused {_why(span)}".rstrip())
    return Mark(Tone.FAILED, f"failed {_why(span)}".rstrip()) if span.failed else None


def is_refusal(span: Span) -> bool:
    """Whether somebody says no, which is an answer; any other error is none."""
    codes = {str(span.attributes.get(name)) for name in ("rpc.response.status_code", "saga.outcome")}
    of_http = 400 <= int(span.attributes.get("http.response.status_code", 0)) < 500  # noqa: PLR2004
    return bool(codes & REFUSALS) or of_http or (span.failed and span.kind is Kind.PRODUCER)


def reason_of(span: Span) -> str:
    """The word for why it was refused, or failed."""
    refused = [event.attributes.get("ensemble.refusal") for event in span.events if event.name == "refused"]
    codes = (span.attributes.get(name) for name in CODES)
    return str(next(filter(None, [*refused, *codes]), ""))


def _of_delivery(span: Span) -> Iterator[Mark]:
    if str(span.attributes.get("messaging.destination.name", "")).startswith(SENT_AGAIN):
        yield Mark(Tone.NOTE, "sent once more")
    if (delivery := span.attributes.get("ensemble.delivery", 1)) > 1:
        yield Mark(Tone.NOTE, f"delivery {delivery}")
    if (outcome := span.attributes.get("ensemble.outcome")) in DELIVERIES:
        yield Mark(Tone.NOTE, DELIVERIES[outcome])


def _words(event: Event) -> str:
    """For example `repeated by the channel, attempt 2`."""
    return ", ".join([event.name, *(f"{key.rpartition('.')[2]} {value}" for key, value in event.attributes.items())])


def _why(span: Span) -> str:
    """For example `CARD_DECLINED: the card was declined`; without the order's id, which everything bears."""
    order_id = str(span.attributes.get("order.id", "-"))
    message = span.message.replace(f"{order_id}.", "").replace(order_id, "…")
    return ": ".join(filter(None, [reason_of(span), message]))
