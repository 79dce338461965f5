"""A fact that is addressed once more, to one service.

`again`: its tries were used up by an outage, or somebody replays it. `alone`: nobody has answered for it, however often
it was delivered; it may be deadly, and so is handled with nothing else beside it.
"""

from enum import StrEnum

from nats.aio.msg import Msg

from mesh.events.bus import Bus
from mesh.events.streams import AGAIN


class Lane(StrEnum):
    """What the subject of such a fact begins with."""

    AGAIN = "again"
    ALONE = "alone"


TRIES = "Ensemble-Tries"
"""Header: deliveries that a fact had before it was sent again."""
REPLAYED = "Ensemble-Replayed"
"""Header: the dead letter that somebody has replayed."""


def subject(service: str, first: str, lane: Lane = Lane.AGAIN) -> str:
    """Of a fact that was first announced by the subject `first`, for this service."""
    return f"{lane}.{service}.{first}"


def first_subject(current: str) -> str:
    """The subject by which a fact was first announced."""
    return current.split(".", 2)[2] if current.startswith(tuple(f"{lane}." for lane in Lane)) else current


def tries(message: Msg) -> int:
    """How often it was delivered, this time and before it was sent again included."""
    before = (message.headers or {}).get(TRIES, "0")
    return message.metadata.num_delivered + (int(before) if before.isdecimal() else 0)


async def send(bus: Bus, service: str, message: Msg, lane: Lane) -> None:
    """Have the same event delivered anew, to this service only. Raises Outage."""
    metadata = message.metadata
    kept = {name: value for name, value in (message.headers or {}).items() if not name.lower().startswith("nats-")}
    # The same message sent again twice is one message; its time tells it from that of a stream that was made anew.
    place = f"{metadata.stream}/{metadata.sequence.stream}/{metadata.timestamp.isoformat()}"
    headers = {**kept, TRIES: str(tries(message)), "Nats-Msg-Id": f"{lane}/{service}/{metadata.consumer}/{place}"}
    await bus.publish(AGAIN.name, subject(service, first_subject(message.subject), lane), message.data, headers)
