"""The connection to NATS JetStream: as one of its users, to whichever of its servers is there."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import nats.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, PubAck

from mesh.background import ended
from mesh.errors import Outage
from mesh.events.forbidden import Forbidden

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.events.bus")

HEADERS_MAX = 65535
"""Bytes of headers that JetStream takes."""
HEADER_RESERVE = 256
"""Bytes of a message's headers that the client adds itself: the version line, and the stream that is expected."""


class Bus:
    """NATS, connected in the background: a process starts and serves RPCs without it."""

    def __init__(self) -> None:
        self._forbidden = Forbidden()
        self._use(Client())
        self.connected = asyncio.Event()
        """Set from the first connection on."""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, name: str) -> "AsyncGenerator[Bus]":
        """Connect for as long as this is open, again and again if need be.

        The URL has the user; with several servers, it is one URL for each, with commas between them. A user hears
        only what is sent to inboxes of its own.
        """
        bus = cls()
        connecting = asyncio.ensure_future(bus._keep_connected(url, name))
        try:
            yield bus
        finally:
            await ended(connecting)
            if bus.client.is_connected:
                with suppress(nats.errors.Error, TimeoutError):
                    await bus.client.drain()
            elif bus.connected.is_set():  # nats-py cannot close what never was
                with suppress(OSError):  # of the connection that is gone already
                    await bus.client.close()

    async def _keep_connected(self, url: str, name: str) -> None:
        """nats-py reconnects by itself, but gives up for good when the server has sent it an error: begin anew."""
        while True:
            closed = asyncio.Event()
            client = Client()
            await _connect(client, url, name, closed, self._forbidden.told)
            self._use(client)
            self.connected.set()
            await closed.wait()
            log.error("bus_closed", error=repr(client.last_error))
            await asyncio.sleep(0.2)

    def _use(self, client: Client) -> None:
        self._client = client
        self._stream: JetStreamContext = client.jetstream(timeout=5)

    @property
    def client(self) -> Client:
        """The connection as it is now, for consumers."""
        return self._client

    async def answers(self) -> bool:
        """Whether the broker is connected now."""
        return self._client.is_connected

    async def consume(self, stream: str, config: ConsumerConfig) -> None:
        """Create a consumer, or bring it up to date. Raises Outage if it cannot be done now."""
        # With nothing but a durable name, nats-py uses a subject that no right can be tied to.
        named = config.evolve(name=config.name or config.durable_name)
        try:
            async with self._forbidden.ends(creating(stream, named)):
                await self._stream.add_consumer(stream, named)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Outage(f"consumer {named.name}: {str(error) or repr(error)}") from error

    def fits(self, payload: bytes, headers: dict[str, str]) -> bool:
        """Whether the server takes a message of this size. It closes the connection of whoever sends a larger one."""
        lines = HEADER_RESERVE + sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())
        return lines <= HEADERS_MAX and lines + len(payload) <= self._client.max_payload

    async def publish(self, stream: str, subject: str, payload: bytes, headers: dict[str, str]) -> PubAck:
        """Publish and wait until the stream has stored it. Raises Outage otherwise, also where the user may not."""
        if not self.fits(payload, headers):
            raise Outage(f"publish {subject}: {len(payload)} bytes and their headers are more than the server takes")
        try:
            async with self._forbidden.ends(subject):
                return await self._stream.publish(subject, payload, timeout=5, stream=stream, headers=dict(headers))
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Outage(f"publish {subject}: {str(error) or repr(error)}") from error


def creating(stream: str, config: ConsumerConfig) -> str:
    """The subject by which a consumer is created: the right to it is the right to its name and its filter."""
    filtered = f".{config.filter_subject}" if config.filter_subject else ""
    return f"$JS.API.CONSUMER.CREATE.{stream}.{config.name or config.durable_name}{filtered}"


async def _connect(
    client: Client, url: str, name: str, closed: asyncio.Event, told: Callable[[Exception], bool]
) -> None:
    """Connect, however long it takes. `closed` is set when the connection is gone for good."""

    async def on_error(error: Exception) -> None:
        if not told(error):
            log.warning("bus_error", error=repr(error))

    async def on_closed() -> None:
        closed.set()

    while True:
        try:
            await client.connect(
                **_access(url),
                name=name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.2,  # pyright: ignore[reportArgumentType] - only asyncio.sleep sees it
                connect_timeout=2,
                ping_interval=5,
                max_outstanding_pings=2,
                drain_timeout=5,
                error_cb=on_error,
                closed_cb=on_closed,
            )
            return
        except (nats.errors.Error, OSError, TimeoutError) as error:
            log.warning("bus_unreachable", error=repr(error))
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            await client.close()
            raise


def _access(url: str) -> dict[str, Any]:
    """The servers, and who we are to each of them, to those that nats-py is yet to hear of, too."""
    parts = [urlsplit(each) for each in url.split(",")]
    servers = [f"{each.scheme}://{each.netloc.rpartition('@')[2]}" for each in parts]
    if (user := parts[0].username) is None:
        return {"servers": servers}
    password = unquote(parts[0].password or "")
    return {"servers": servers, "user": user, "password": password, "inbox_prefix": f"_INBOX_{user}"}
