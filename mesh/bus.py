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

from mesh.errors import Outage

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.bus")

DEAD_LETTERS = "DEAD_LETTERS"
DAY = 24 * 3600.0


@dataclass(frozen=True)
class Stream:
    """A stream and how long it keeps things, seconds."""

    name: str
    subjects: tuple[str, ...]
    max_age: float = 7 * DAY
    max_bytes: int = 4 << 30


class Bus:
    """NATS, connected in the background: a process starts and serves RPCs without it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream: JetStreamContext = client.jetstream(timeout=5)
        self.connected = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, name: str) -> "AsyncGenerator[Bus]":
        """Connect for as long as this is open, again and again if need be."""
        client = Client()
        bus = cls(client)
        connecting = asyncio.ensure_future(bus._connect(url, name))
        try:
            yield bus
        finally:
            connecting.cancel()
            with suppress(asyncio.CancelledError):
                await connecting
            if client.is_connected:
                with suppress(nats.errors.Error, TimeoutError):
                    await client.drain()
            else:
                await client.close()

    async def _connect(self, url: str, name: str) -> None:
        async def on_error(error: Exception) -> None:
            log.warning("bus_error", error=repr(error))

        while True:
            try:
                await self._client.connect(
                    url,
                    name=name,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.2,  # pyright: ignore[reportArgumentType] - only asyncio.sleep sees it
                    connect_timeout=2,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    drain_timeout=5,
                    error_cb=on_error,
                )
                break
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("bus_unreachable", error=repr(error))
                await asyncio.sleep(0.2)
        self.connected.set()

    @property
    def client(self) -> Client:
        """The connection itself, for consumers."""
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

    async def publish(self, stream: str, subject: str, payload: bytes, headers: dict[str, str]) -> PubAck:
        """Publish and wait until the stream has stored it. Raises Outage otherwise."""
        try:
            return await self._stream.publish(subject, payload, timeout=5, stream=stream, headers=dict(headers))
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Outage(f"publish {subject}: {error!r}") from error
