"""A cable between two processes that can be cut, and mended: a TCP relay that turns into a black hole."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from typing import Self

from cli.stack.ports import HOST

CHUNK = 64 * 1024


class Relay:
    """Carries bytes between whoever connects to `address` and `target`, both `host:port`.

    While it is cut nothing gets through, no hang-up either: connections stay open, new ones are not answered, and
    what was sent arrives after the healing. Each side's kernel still finds a live peer, so that only the patience of
    the programs is put to the test, not TCP's.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.address = ""
        self._whole = asyncio.Event()
        self._whole.set()
        self._connections: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, target: str) -> AsyncGenerator[Self]:
        """Relay while open, on a free port. The target need not be there yet."""
        relay = cls(target)
        server = await asyncio.start_server(relay._accept, HOST)  # on a port that the kernel chooses
        relay.address = f"{HOST}:{server.sockets[0].getsockname()[1]}"
        try:
            yield relay
        finally:
            server.close()
            for connection in relay._connections:
                connection.cancel()
            await asyncio.gather(*relay._connections, return_exceptions=True)

    def cut(self) -> None:
        self._whole.clear()

    def heal(self) -> None:
        self._whole.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        with closing(to_near), suppress(OSError):  # nobody is there: whoever asks is hung up on
            await self._whole.wait()
            far, to_far = await asyncio.open_connection(*self.target.split(":"))
            with closing(to_far):
                await asyncio.gather(self._carry(near, to_far), self._carry(far, to_near))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                await self._whole.wait()
                sink.write(data)
                await sink.drain()
        await self._whole.wait()
        sink.close()
