"""The streams: what the broker keeps, how long and how often, and the step that makes them.

An operator provisions them; services may not. A fact that is announced before they are there waits in its outbox.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType, StreamConfig, StreamSource
from nats.js.errors import APIError, NotFoundError

from mesh.errors import Outage

DAY = 24 * 3600.0
GIGABYTE = 1 << 30
PATIENCE = 45.0
"""Seconds that the brokers may take to find each other and choose a leader."""
PAUSE = 0.25
HOPELESS = {10047, 10052, 10065, 10074}
"""What the broker says when waiting does not help: too little storage, a configuration that is none, subjects of
another stream, replicas without a cluster."""


@dataclass(frozen=True)
class Stream:
    """A stream and how much it keeps. Full, it refuses: the outbox keeps what it cannot take."""

    name: str
    subjects: tuple[str, ...]
    max_age: float = 7 * DAY
    """Seconds."""
    max_bytes: int = 4 * GIGABYTE
    sources: tuple[StreamSource, ...] = ()
    """Other streams whose messages it takes, besides what is published to it."""


AGAIN = Stream("AGAIN", ("again.>", "alone.>"), max_bytes=GIGABYTE)
"""Facts addressed once more to one service: `again.<service>.<its subject>`, or `alone.<service>.<its subject>`."""
DEAD_LETTERS = Stream("DEAD_LETTERS", ("dead.>", "resolved.>"), max_age=30 * DAY, max_bytes=GIGABYTE)
"""What could not be handled, `dead.<durable>.<subject>`, and what was made of it, `resolved.<durable>.<subject>`."""
KIT = (AGAIN, DEAD_LETTERS)
"""What the kit needs besides the streams that the facts' contracts name."""


async def provision(jetstream: JetStreamContext, streams: Iterable[Stream], replicas: int) -> None:
    """Create each stream, or bring it up to date, with so many replicas (1, or 3 on a cluster).

    Waits while the brokers are still finding each other. Raises Outage when they cannot do it, or not in time.
    """
    for stream in streams:
        await _settle(jetstream, _configuration(stream, replicas))


def _configuration(stream: Stream, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        sources=list(stream.sources) or None,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_age=stream.max_age,
        max_bytes=stream.max_bytes,
        duplicate_window=120,
        allow_direct=True,
        num_replicas=replicas,
    )


async def _settle(jetstream: JetStreamContext, configuration: StreamConfig) -> None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + PATIENCE
    while True:
        try:
            return await _create_or_update(jetstream, configuration)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            hopeless = isinstance(error, APIError) and error.err_code in HOPELESS
            if hopeless or clock() > deadline:
                raise Outage(f"stream {configuration.name} cannot be made: {str(error) or repr(error)}") from error
        await asyncio.sleep(PAUSE)


async def _create_or_update(jetstream: JetStreamContext, configuration: StreamConfig) -> None:
    try:
        await jetstream.update_stream(configuration)
    except NotFoundError:
        await jetstream.add_stream(configuration)
