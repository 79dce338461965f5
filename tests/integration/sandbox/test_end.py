"""How it ends: drained, or killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from sandbox import ledger, mail
from tests.eventually import eventually
from tests.integration.sandbox.world import CHARGE, DRAIN_SECONDS, World, a_listener, a_world, port_of


async def test_drain_answers_the_request_in_flight_and_takes_no_more(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        async with a_world(tmp_path / "ledger.db") as world:
            url = world.url
            body = CHARGE | {"token": "tok_slow"}
            slow = asyncio.create_task(http.put(f"{url}/v1/payments/p1", json=body))

            async def charged() -> bool:
                return (await world.ask("GET", "/v1/payments/p1"))[0] == 200

            await eventually(charged)

        assert (await slow).status == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(f"{url}/health")


async def test_drain_accepts_the_mail_that_is_coming_in(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with ledger.opened(path) as book:
        listener = a_listener()
        port = port_of(listener)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(mail.served(book, listener, DRAIN_SECONDS))
            idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for line in ("EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA"):
                writer.write(f"{line}\r\n".encode())
            await reader.readuntil(b"354 ")
            draining = asyncio.create_task(stack.aclose())
            await idle_reader.read()  # ends: an idle client is let go at once
            writer.write(b"Subject: late\r\n\r\nbut here\r\n.\r\n")
            replies = await reader.read()
            await draining

        assert b"250 2.0.0 Accepted" in replies
        assert [row["subject"] for row in book.rows("mails")] == ["late"]
        for client in (idle_writer, writer):
            client.close()


async def test_killed_process_keeps_what_it_charged(tmp_path: Path) -> None:
    listener = a_listener()
    port = port_of(listener)
    listener.close()
    environment = os.environ | {
        "ENSEMBLE_HTTP_LISTEN": f"127.0.0.1:{port}",
        "ENSEMBLE_SMTP_LISTEN": "127.0.0.1:0",
        "ENSEMBLE_LEDGER_PATH": str(tmp_path / "ledger.db"),
    }

    @asynccontextmanager
    async def a_process(end: signal.Signals) -> AsyncGenerator[World]:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "sandbox", env=environment)
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(url) as http:
            world = World(url, http, 0)

            async def healthy() -> bool:
                with suppress(aiohttp.ClientConnectionError):
                    return (await world.ask("GET", "/health"))[0] == 200
                assert process.returncode is None
                return False

            try:
                await eventually(healthy)
                yield world
            finally:
                process.send_signal(end)
                returncode = await process.wait()
        assert returncode == (0 if end is signal.SIGTERM else -end)

    async with a_process(signal.SIGKILL) as before:
        _, charged = await before.pay("p1")
    async with a_process(signal.SIGTERM) as after:
        assert await after.ask("GET", "/v1/payments/p1") == (200, charged)
