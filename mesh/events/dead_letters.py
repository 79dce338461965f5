"""Dead letters: messages that can never be handled, kept with the reason, for somebody to look at.

What becomes of them then is the business of `mesh.events.resolution`.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime

import nats.errors
from nats.aio.msg import Msg

from mesh.errors import Outage
from mesh.events import again, history
from mesh.events.bus import Bus
from mesh.events.history import Recorded
from mesh.events.streams import DEAD_LETTERS as STREAM

BURIED, RESOLVED = "dead", "resolved"
"""What the subjects of letters begin with, before and after somebody has dealt with them."""
LONGEST_REASON = 500
LONGEST_SUBJECT = 1000
"""Of what is kept. The server closes the connection of whoever sends a line of 4096 bytes."""
SENDABLE = re.compile(r"(?!nats-|dead-|resolved-)[!#$%&'*+\-.^_`|~0-9a-z]+", re.IGNORECASE)
"""Names of headers that are a message's own, and that may be sent on: more can be received."""


@dataclass(frozen=True)
class Letter:
    """A dead letter, or the record of one that was resolved."""

    recorded: Recorded
    """By `dead.<durable>.<subject>`, or `resolved.<durable>.<subject>`."""

    @property
    def id(self) -> int:
        """Its place in the stream; of a record, the place where the letter was."""
        return int(self.headers["Resolved-Letter"]) if self.is_resolved else self.recorded.sequence

    @property
    def is_resolved(self) -> bool:
        """Whether this is but the record of a letter."""
        return self.recorded.subject.startswith(f"{RESOLVED}.")

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of the message; what begins with Dead- or Resolved- is the letter's own."""
        return self.recorded.headers

    @property
    def durable(self) -> str:
        """Who could not handle it."""
        return self.recorded.subject.split(".")[1]

    @property
    def service(self) -> str:
        """Whose durable that is."""
        return self.durable.partition("_")[0]

    @property
    def subject(self) -> str:
        """The subject by which the message came."""
        return self.recorded.subject.split(".", 2)[2]

    @property
    def kind(self) -> str:
        """The fact's full name, as the subject has it."""
        return self.subject.rpartition(".")[0]

    @property
    def key(self) -> str:
        """Which story the fact is of, as the subject has it."""
        return self.subject.rpartition(".")[2]

    @property
    def reason(self) -> str:
        return self.headers.get("Dead-Reason", "")

    @property
    def origin(self) -> tuple[str, int]:
        """The stream that the message came from, and its place there."""
        return self.headers.get("Dead-Stream", ""), int(self.headers.get("Dead-Sequence", 0))

    @property
    def is_pointer(self) -> bool:
        """Whether the message was too large to be kept, and is only where it came from."""
        return "Dead-Pointer" in self.headers


@dataclass(frozen=True)
class Which:
    """Which letters are meant: those for which all holds that is set."""

    durable: str | None = None
    kind: str | None = None
    key: str | None = None
    reason: str | None = None
    """A part of the reason."""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def subject(self) -> str:
        """What those among which they are have in common, after `dead` or `resolved`."""
        fact = f"{self.kind or '*.*.*.*'}.{self.key or '*'}" if self.kind or self.key else ">"
        return f"{self.durable or '*'}.{fact}"

    def means(self, letter: Letter) -> bool:
        """Whether this letter, which is among those of the subject, is meant."""
        at = letter.recorded.stored_at
        return (
            (self.reason or "") in letter.reason
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
        )


async def bury(bus: Bus, message: Msg, durable: str, reason: str) -> None:
    """Put a message into the dead letters, then have it delivered no more. Raises Outage, with it still to be handled.

    What the message asked of its first stream is left out, and of one that is too large only a pointer is kept.
    """
    stream, sequence, at = message.metadata.stream, message.metadata.sequence.stream, message.metadata.timestamp
    stated = as_header(reason)
    letter = {
        # A stream that was lost and made anew begins to count anew: the time tells its messages from the lost ones.
        "Nats-Msg-Id": f"{BURIED}/{stream}/{durable}/{sequence}/{at.isoformat()}",
        "Dead-Reason": stated,
        "Dead-Stream": stream,
        "Dead-Sequence": str(sequence),
        "Dead-Deliveries": str(again.tries(message)),
    }
    payload, headers = fitting(bus, message.data, message.headers or {}, letter)
    subject = again.first_subject(message.subject)[:LONGEST_SUBJECT].rstrip(".")
    await bus.publish(STREAM.name, f"{BURIED}.{durable}.{subject}", payload, headers)
    await bus.client.publish(message.reply, f"+TERM {stated}".encode())  # nats-py's `term` can give no reason


async def letters(bus: Bus, which: Which, *, resolved: bool = False) -> AsyncGenerator[Letter]:
    """The letters, or the records of those that were resolved; oldest first. Raises Outage."""
    subject = f"{RESOLVED if resolved else BURIED}.{which.subject}"
    async for recorded in history.read(bus, STREAM.name, subject):
        letter = Letter(recorded)
        if which.means(letter):
            yield letter


async def letter(bus: Bus, number: int) -> Letter | None:
    """The letter of this id, or its last record if it was resolved. Raises Outage."""
    found = await history.page(bus, STREAM.name, f"{BURIED}.>", number, size=1)
    for recorded in found.records:
        if recorded.sequence == number:
            return Letter(recorded)
    records = [record async for record in letters(bus, Which(), resolved=True) if record.id == number]
    return records[-1] if records else None


async def counts(bus: Bus) -> Counter[str]:
    """How many letters there are, by durable. Raises Outage."""
    found, seen = Counter[str](), 0
    while True:
        question = json.dumps({"subjects_filter": f"{BURIED}.>", "offset": seen}).encode()
        try:
            answer = await bus.client.request(f"$JS.API.STREAM.INFO.{STREAM.name}", question, timeout=5)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Outage(f"dead letters: {error!r}") from error
        page: dict[str, int] = json.loads(answer.data).get("state", {}).get("subjects") or {}
        if not page:
            return found
        seen += len(page)  # the server tells of 100,000 at a time
        for subject, count in page.items():
            found[subject.split(".")[1]] += count


def fitting(
    bus: Bus, payload: bytes, headers: Mapping[str, str], letter: dict[str, str]
) -> tuple[bytes, dict[str, str]]:
    """A message with the letter's headers; where the server does not take that much, the letter without the message."""
    whole = {**own(headers), **letter}
    return (payload, whole) if bus.fits(payload, whole) else (b"", {**letter, "Dead-Pointer": "true"})


def own(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a message, less what it asked of its stream, and what is said of it as a letter."""
    return {name: value for name, value in headers.items() if SENDABLE.fullmatch(name)}


def as_header(text: str) -> str:
    """A text, whatever it says, as a header can hold it."""
    return " ".join(text.encode("ascii", "backslashreplace").decode().split())[:LONGEST_REASON]
