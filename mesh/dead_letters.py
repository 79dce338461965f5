"""Dead letters: messages that can never be handled, kept with the reason."""

from nats.aio.msg import Msg

from mesh.bus import DAY, Bus, Stream

STREAM = Stream("DEAD_LETTERS", ("dead.>",), max_age=30 * DAY)
LONGEST_REASON = 500


async def bury(bus: Bus, message: Msg, durable: str, reason: str) -> None:
    """Put a message into the dead letters, then have it delivered no more. Raises Outage, with it still to be handled.

    What the message asked of its first stream is left out, and of one that is too large only a pointer is kept.
    """
    sequence = message.metadata.sequence.stream
    letter = {
        "Nats-Msg-Id": f"dead/{durable}/{sequence}",
        "Dead-Reason": reason.encode("ascii", "backslashreplace").decode().replace("\n", " ")[:LONGEST_REASON],
        "Dead-Stream": message.metadata.stream,
        "Dead-Sequence": str(sequence),
        "Dead-Deliveries": str(message.metadata.num_delivered),
    }
    kept = {name: value for name, value in (message.headers or {}).items() if not name.lower().startswith("nats-")}
    payload, headers = message.data, {**kept, **letter}
    if not bus.fits(payload, headers):
        payload, headers = b"", letter
    await bus.publish(STREAM.name, f"dead.{durable}.{message.subject}", payload, headers)
    await message.term()
