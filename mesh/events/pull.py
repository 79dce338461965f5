"""Pulling messages of a durable consumer, as many as there is room for, each handled in a task of its own.

nats-py's `fetch` waits for a whole batch or its timeout, and stalls after a reconnect. Here one request with heartbeats
is kept open: a message is handled as it arrives, and a silent server is asked again.
"""

import asyncio
import contextvars
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from mesh.background import ended
from mesh.errors import Outage
from mesh.events.bus import Bus

Handle = Callable[[Msg], Awaitable[None]]

IN_FLIGHT = 64
"""Messages of one durable that a process handles at a time."""
NANOSECONDS = 1_000_000_000
EXPIRES = 10.0
HEARTBEAT = 1.0
"""Seconds after which a request is over, and between two signs of life while it lasts."""
GONE = ("409", "503")
"""What the broker says of a durable that was deleted, whose leader has changed, or that it never had."""
HOLD = 2.0
HOLDS_MAX = 30
"""Seconds between two words to the broker that a message is being handled, and how often: then it is for others."""
GIVE_BACK = 0.4
"""Seconds that giving back what was not begun may take; less than `mesh.background.AGAIN`."""


class Pull:
    """One durable, while it is pulled."""

    def __init__(self, bus: Bus, stream: str, durable: str, handle: Handle) -> None:
        self._bus = bus
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._handle = handle
        self._in_flight: dict[asyncio.Future[None], asyncio.TimerHandle] = {}
        """What is being handled, and when the broker is told again that it is."""
        self._telling: set[asyncio.Future[None]] = set()
        self._finished = asyncio.Event()

    async def for_ever(self) -> None:
        """Keep one request open whenever there is room. Ended, gives back what was not begun.

        Raises nats errors; Outage when the broker does not have the durable, or does not now.
        """
        inbox = self._bus.client.new_inbox()
        subscription = await self._bus.client.subscribe(inbox)
        try:
            while True:
                await self._room()
                wanted = IN_FLIGHT - len(self._in_flight)
                await self._request(wanted, inbox)
                await self._receive(subscription, wanted)
        finally:
            await self._give_back(subscription)

    async def settled(self) -> None:
        """Returns once what was begun is finished."""
        if self._in_flight:
            await asyncio.wait(self._in_flight)

    async def _room(self) -> None:
        while len(self._in_flight) > IN_FLIGHT // 2:
            self._finished.clear()
            await self._finished.wait()

    async def _request(self, batch: int, inbox: str) -> None:
        request = {
            "batch": batch,
            "expires": int(EXPIRES * NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT * NANOSECONDS),
        }
        await self._bus.client.publish(self._subject, json.dumps(request).encode(), reply=inbox)

    async def _receive(self, subscription: Subscription, wanted: int) -> None:
        """Begin a task per message until the request is used up, ended by the server, or silent."""
        while wanted:
            try:
                message = await subscription.next_msg(timeout=2 * HEARTBEAT + 0.5)
            except (nats.errors.TimeoutError, TimeoutError):
                return
            # What the server says of the request itself comes to the inbox; a message keeps its own subject.
            if message.subject != subscription.subject:
                wanted -= 1
                self._begin(message)
            elif not self._goes_on(message):
                return

    def _goes_on(self, said: Msg) -> bool:
        """Whether the request is still open after what the broker says of it: only after a heartbeat."""
        headers = said.headers or {}
        status = headers.get("Status")
        if status in GONE:
            raise Outage(f"{self._subject}: {status} {headers.get('Description', 'no such durable')}")
        return status == "100"

    def _begin(self, message: Msg) -> None:
        # A context of its own: the trace of one message must not leak into the next.
        task = asyncio.get_running_loop().create_task(self._handled(message), context=contextvars.Context())
        self._hold(task, message, HOLDS_MAX)
        task.add_done_callback(self._done)

    async def _handled(self, message: Msg) -> None:
        await self._handle(message)

    def _hold(self, task: asyncio.Future[None], message: Msg, times: int) -> None:
        """See to it that the broker is told now and then that it is being handled; not for ever, though."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            if times:
                telling = loop.create_task(_in_progress(message), context=contextvars.Context())
                self._telling.add(telling)
                telling.add_done_callback(self._telling.discard)
                self._hold(task, message, times - 1)

        self._in_flight[task] = loop.call_later(HOLD, tell)

    def _done(self, task: asyncio.Future[None]) -> None:
        self._in_flight.pop(task).cancel()
        self._finished.set()

    async def _give_back(self, subscription: Subscription) -> None:
        """Take no more. What is here, or on its way here, is for somebody else: now, not when ack_wait is over."""
        draining = asyncio.ensure_future(subscription.drain())
        with suppress(nats.errors.Error, TimeoutError):
            async with asyncio.timeout(GIVE_BACK):
                while not draining.done():
                    with suppress(nats.errors.TimeoutError):
                        message = await subscription.next_msg(timeout=0.02)
                        if message.subject != subscription.subject:
                            await message.nak()
        with suppress(nats.errors.Error):
            await ended(draining)


async def _in_progress(message: Msg) -> None:
    with suppress(nats.errors.Error):
        await message.in_progress()
