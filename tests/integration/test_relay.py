"""The relay that other tests cut cables with."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from cli.stack.ports import HOST
from tests.eventually import eventually
from tests.relay import Relay


class Server:
    """Answers each line with itself, and knows what it was sent."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.heard.append(line)
            writer.write(line)
        self.heard.append(b"")
        writer.close()


@pytest.fixture
async def server() -> AsyncGenerator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, HOST)
    server.address = f"{HOST}:{listening.sockets[0].getsockname()[1]}"
    yield server
    listening.close()


@pytest.fixture
async def relay(server: Server) -> AsyncGenerator[Relay]:
    async with Relay.open(server.address) as relay:
        yield relay


async def connect(relay: Relay) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*relay.address.split(":"))


async def test_what_is_sent_into_a_cut_cable_arrives_after_the_healing(server: Server, relay: Relay) -> None:
    reader, writer = await connect(relay)
    writer.write(b"one\n")
    assert await reader.readline() == b"one\n"

    relay.cut()
    writer.write(b"two\n")
    other_reader, other_writer = await connect(relay)
    other_writer.write(b"three\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.gather(reader.readline(), other_reader.readline()), 0.2)
    assert server.heard == [b"one\n"]

    relay.heal()
    await eventually(lambda: sorted(server.heard) == [b"one\n", b"three\n", b"two\n"])
    writer.close()
    other_writer.close()


async def test_a_hang_up_does_not_get_through_a_cut_cable(server: Server, relay: Relay) -> None:
    reader, writer = await connect(relay)
    writer.write(b"one\n")
    assert await reader.readline() == b"one\n"

    relay.cut()
    writer.close()
    await writer.wait_closed()
    for _ in range(10):
        await asyncio.sleep(0)
    assert server.heard == [b"one\n"]

    relay.heal()
    await eventually(lambda: server.heard == [b"one\n", b""])


async def test_where_nobody_listens_the_connection_is_closed() -> None:
    async with Relay.open(f"{HOST}:1") as relay:
        reader, writer = await connect(relay)

        assert await reader.read() == b""
        writer.close()
