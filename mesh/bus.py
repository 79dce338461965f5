"""The connection to NATS JetStream, and the streams that the facts' contracts name."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import nats.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, PubAck, StorageType, StreamConfig
from nats.js.errors import APIError

from mesh.background import ended
from mesh.errors import Outage

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.bus")

DAY = 24 * 3600.0
HEADERS_MAX = 65535
"""Bytes of headers that JetStream takes."""
HEADER_RESERVE = 256
"""Bytes of a message's headers that the client adds itself: the version line, and the stream that is expected."""


@dataclass(frozen=True)
class Stream:
    """A stream and how long it keeps things, seconds."""

    name: str
    subjects: tuple[str, ...]
    max_age: float = 7 * DAY
    max_bytes: int = 4 << 30


class Bus:
    """NATS, connected in the background: a process starts and serves RPCs without it."""

    def __init__(self) -> None:
        self._use(Client())
        self.connected = asyncio.Event()
        """Set from the first connection on."""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, name: str) -> "AsyncGenerator[Bus]":
        """Connect for as long as this is open, again and again if need be."""
        bus = cls()
        connecting = asyncio.ensure_future(bus._keep_connected(url, name))
        try:
            yield bus
        finally:
            await ended(connecting)
            if bus.client.is_connected:
                with suppress(nats.errors.Error, TimeoutError):
                    await bus.client.drain()
            else:
                await bus.client.close()

    async def _keep_connected(self, url: str, name: str) -> None:
        """nats-py reconnects by itself, but gives up for good when the server has sent it an error: begin anew."""
        while True:
            closed = asyncio.Event()
            client = Client()
            await _connect(client, url, name, closed)
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

    async def ensure(self, stream: Stream) -> None:
        """Create the stream, or bring its configuration up to date. Raises Outage if it cannot be done now."""
        config = StreamConfig(
            name=stream.name,
            subjects=list(stream.subjects),
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,  # a full stream refuses: the outbox keeps what it cannot take
            max_age=stream.max_age,
            max_bytes=stream.max_bytes,
            duplicate_window=120,
            allow_direct=True,
        )
        try:
            try:
                await self._stream.update_stream(config)
            except APIError:
                await self._stream.add_stream(config)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Outage(f"stream {stream.name}: {error!r}") from error

    async def consume(self, stream: str, config: Any) -> None:
        """Create a durable consumer, or bring it up to date. Raises Outage if it cannot be done now."""
        try:
            await self._stream.add_consumer(stream, config)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Outage(f"consumer {config.durable_name}: {error!r}") from error

    def fits(self, payload: bytes, headers: dict[str, str]) -> bool:
        """Whether the server takes a message of this size. It closes the connection of whoever sends a larger one."""
        lines = HEADER_RESERVE + sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())
        return lines <= HEADERS_MAX and lines + len(payload) <= self._client.max_payload

    async def publish(self, stream: str, subject: str, payload: bytes, headers: dict[str, str]) -> PubAck:
        """Publish and wait until the stream has stored it. Raises Outage otherwise."""
        if not self.fits(payload, headers):
            raise Outage(f"publish {subject}: {len(payload)} bytes and their headers are more than the server takes")
        try:
            return await self._stream.publish(subject, payload, timeout=5, stream=stream, headers=dict(headers))
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Outage(f"publish {subject}: {error!r}") from error


async def _connect(client: Client, url: str, name: str, closed: asyncio.Event) -> None:
    """Connect, however long it takes. `closed` is set when the connection is gone for good."""

    async def on_error(error: Exception) -> None:
        log.warning("bus_error", error=repr(error))

    async def on_closed() -> None:
        closed.set()

    while True:
        try:
            await client.connect(
                url,
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
