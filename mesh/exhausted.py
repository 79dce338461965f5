"""Facts that the broker has given up on: nobody has answered for them, however often they were delivered.

Either the process dies of them, or they were in progress each time that it died of something else. So they are tried
once more, one at a time: the advisory is acknowledged when its fact is settled, and a fact whose advisory keeps coming
back is the one that kills. It is buried untried.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from mesh.bus import Bus
from mesh.durable import Durable
from mesh.errors import Outage
from mesh.pull import NANOSECONDS

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.exhausted")

ALONE_TRIES = 3
"""Tries of a fact alone; whatever else the process died of meanwhile, three times in a row is no chance."""
FETCH_SECONDS = 5.0


class Exhausted:
    """What is done with the broker's advisories about a service's durables."""

    def __init__(
        self,
        bus: Bus,
        durables: Iterable[Durable],
        settle: Callable[[Msg], Awaitable[None]],
        bury: Callable[[Msg, str], Awaitable[None]],
    ) -> None:
        """`settle` handles a message for the last time. Both raise Outage."""
        self._bus = bus
        self._durables = {durable.name: durable for durable in durables}
        self._settle = settle
        self._bury = bury

    async def handle(self, advisory: Msg) -> None:
        """Settle the fact that an advisory is about. What fails comes again."""
        told = json.loads(advisory.data)
        durable, sequence = self._durables[told["consumer"]], told["stream_seq"]
        with suppress(nats.errors.Error, TimeoutError, Outage):
            message = await self._fetched(durable, sequence)
            if message is None:
                log.error("exhausted_and_gone", durable=durable.name, sequence=sequence)
            elif advisory.metadata.num_delivered > ALONE_TRIES:
                log.error("exhausted_and_deadly", durable=durable.name, subject=message.subject)
                await self._bury(
                    message, f"no process survives it, in {told['deliveries']} tries and {ALONE_TRIES} alone"
                )
            else:
                log.warning("exhausted_tried_alone", durable=durable.name, subject=message.subject)
                await self._settle(message)
            await advisory.ack_sync(timeout=5)

    async def _fetched(self, durable: Durable, sequence: int) -> Msg | None:
        """The message at that place, or None if the stream does not have it any more."""
        jetstream, config = self._bus.client.jetstream(), durable.alone(sequence)
        name = config.name or ""
        with suppress(NotFoundError):
            await jetstream.delete_consumer(durable.stream, name)
        await self._bus.consume(durable.stream, config)
        message = await self._next(durable.stream, name)
        if message is None and (await jetstream.consumer_info(durable.stream, name)).num_pending:
            raise Outage(f"{name}: the broker did not deliver")
        return message if message and message.metadata.sequence.stream == sequence else None

    async def _next(self, stream: str, consumer: str) -> Msg | None:
        inbox = self._bus.client.new_inbox()
        subscription = await self._bus.client.subscribe(inbox, max_msgs=1)
        try:
            request = {"batch": 1, "expires": int(FETCH_SECONDS * NANOSECONDS)}
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
            await self._bus.client.publish(subject, json.dumps(request).encode(), reply=inbox)
            message = await subscription.next_msg(timeout=FETCH_SECONDS + 1)
            return None if message.subject == inbox else message  # what comes to the inbox itself is about the request
        finally:
            await subscription.unsubscribe()
