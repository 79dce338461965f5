"""What becomes of a dead letter: replayed to the service that buried it, or discarded; and the record of that.

Each step may be repeated, by the same operator after a crash or by two at once: a replayed fact keeps its event id,
so that a service which has handled it does nothing.
"""

import getpass
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

import nats.errors
from nats.js.errors import APIError

from mesh.errors import Outage, not_found
from mesh.events import again, history
from mesh.events.again import Lane
from mesh.events.bus import Bus
from mesh.events.dead_letters import RESOLVED, Letter, as_header, fitting, own
from mesh.events.streams import AGAIN, DEAD_LETTERS

REPLAYED, DISCARDED = "replayed", "discarded"
NOTHING_TO_DELETE = {10043, 10057}
"""What the broker says where there is no such message, or where somebody else is just deleting it."""


@dataclass(frozen=True)
class Operator:
    """Who resolves letters, as user@host, and why."""

    name: str
    reason: str = ""

    @classmethod
    def here(cls, reason: str) -> "Operator":
        """Who runs this process."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container may run as a number that has no name
            user = str(os.getuid())
        return cls(f"{user}@{socket.gethostname()}", reason)


async def replay(bus: Bus, letter: Letter, operator: Operator) -> Letter | None:
    """Send it to the service that buried it, once more, and put it away.

    Returns the record of who has resolved it before: then it is only put away. Raises Refusal ORIGINAL_GONE, where
    the message was not kept and is no longer where it came from; Outage.
    """
    before = await _record_of(bus, letter)
    if before is None:
        payload, headers = await _message(bus, letter)
        headers["Nats-Msg-Id"] = f"{Lane.AGAIN}/{letter.id}/{letter.recorded.stored_at.isoformat()}"
        headers[again.REPLAYED] = str(letter.id)
        headers.pop(again.TRIES, None)
        await bus.publish(AGAIN.name, again.subject(letter.service, letter.subject), payload, headers)
        await _record(bus, letter, operator, REPLAYED)
    await _delete(bus, letter)
    return before


async def discard(bus: Bus, letter: Letter, operator: Operator) -> Letter | None:
    """Put it away for good.

    Returns the record of who has resolved it before: then it is only put away. Raises Outage.
    """
    before = await _record_of(bus, letter)
    if before is None:
        await _record(bus, letter, operator, DISCARDED)
    await _delete(bus, letter)
    return before


async def _record_of(bus: Bus, letter: Letter) -> Letter | None:
    async for recorded in history.read(bus, DEAD_LETTERS.name, _place_of_record(letter)):
        record = Letter(recorded)
        if record.id == letter.id:
            return record
    return None


async def _message(bus: Bus, letter: Letter) -> tuple[bytes, dict[str, str]]:
    """What was buried, as it came."""
    if not letter.is_pointer:
        return letter.recorded.payload, own(letter.headers)
    stream, sequence = letter.origin
    for original in (await history.page(bus, stream, ">", sequence, size=1)).records:
        if original.sequence == sequence and original.subject.endswith(letter.subject):
            return original.payload, own(original.headers)
    message = f"letter {letter.id} was too large to be kept, and {stream} has it no longer at {sequence}"
    raise not_found("ORIGINAL_GONE", message, letter=str(letter.id), stream=stream, sequence=str(sequence))


async def _record(bus: Bus, letter: Letter, operator: Operator, how: str) -> None:
    record = {name: value for name, value in letter.headers.items() if name.startswith("Dead-")} | {
        "Nats-Msg-Id": f"{RESOLVED}/{letter.id}/{how}",
        "Resolved-As": how,
        "Resolved-By": as_header(operator.name),
        "Resolved-At": datetime.now(UTC).isoformat(),
        "Resolved-Letter": str(letter.id),
    }
    if operator.reason:
        record["Resolved-Reason"] = as_header(operator.reason)
    payload, headers = fitting(bus, letter.recorded.payload, letter.headers, record)
    await bus.publish(DEAD_LETTERS.name, _place_of_record(letter), payload, headers)


async def _delete(bus: Bus, letter: Letter) -> None:
    try:
        await bus.client.jetstream(timeout=5).delete_msg(DEAD_LETTERS.name, letter.id)
    except (nats.errors.Error, OSError, TimeoutError) as error:
        if not (isinstance(error, APIError) and error.err_code in NOTHING_TO_DELETE):
            raise Outage(f"letter {letter.id} is resolved, but still listed: {error!r}") from error


def _place_of_record(letter: Letter) -> str:
    return f"{RESOLVED}.{letter.durable}.{letter.subject}"
