"""A fact that is addressed once more, to one service: its tries were used up by an outage, or somebody replays it."""

from nats.aio.msg import Msg

from mesh.bus import Bus
from mesh.streams import AGAIN

PREFIX = "again"
TRIES = "Ensemble-Tries"
"""Header: deliveries that a fact had before it was sent again."""


def subject(service: str, first: str) -> str:
    """Of a fact that was first announced by the subject `first`, for this service."""
    return f"{PREFIX}.{service}.{first}"


def first_subject(current: str) -> str:
    """The subject by which a fact was first announced."""
    return current.split(".", 2)[2] if current.startswith(f"{PREFIX}.") else current


def tries(message: Msg) -> int:
    """How often it was delivered, this time and before it was sent again included."""
    before = (message.headers or {}).get(TRIES, "0")
    return message.metadata.num_delivered + (int(before) if before.isdecimal() else 0)


async def send(bus: Bus, service: str, message: Msg) -> None:
    """Have the same event delivered anew, to this service only. Raises Outage."""
    metadata = message.metadata
    kept = {name: value for name, value in (message.headers or {}).items() if not name.lower().startswith("nats-")}
    # The same delivery, sent again twice, is one message.
    once = {"Nats-Msg-Id": f"again/{service}/{metadata.consumer}/{metadata.stream}/{metadata.sequence.stream}"}
    headers = {**kept, TRIES: str(tries(message)), **once}
    await bus.publish(AGAIN.name, subject(service, first_subject(message.subject)), message.data, headers)
