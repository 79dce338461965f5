"""The outside world over real HTTP and real SMTP, with a real ledger file, as a caller sees it."""

import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib

from sandbox import ledger, mail, server

CHARGE = {"amount_minor": 1999, "currency": "EUR", "token": "tok_visa"}
BOOKING = {"postcode": "10115", "country": "DE", "parcels": [{"sku": "mug", "quantity": 2}]}
DRAIN_SECONDS = 5.0


@dataclass(frozen=True)
class World:
    """The sandbox as a caller sees it."""

    url: str
    http: aiohttp.ClientSession
    smtp_port: int

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.http.request(method, path, **options) as response:
            return response.status, await response.json()

    async def pay(self, key: str, **changes: object) -> tuple[int, Any]:
        return await self.ask("PUT", f"/v1/payments/{key}", json=CHARGE | changes)

    async def ship(self, key: str, **changes: object) -> tuple[int, Any]:
        return await self.ask("PUT", f"/v1/shipments/{key}", json=BOOKING | changes)

    async def send(self, message: EmailMessage) -> None:
        await aiosmtplib.send(message, hostname="127.0.0.1", port=self.smtp_port)


def a_listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def port_of(listener: socket.socket) -> int:
    return listener.getsockname()[1]


@asynccontextmanager
async def a_world(ledger_path: Path) -> AsyncGenerator[World]:
    http, smtp = a_listener(), a_listener()
    url = f"http://127.0.0.1:{port_of(http)}"
    async with AsyncExitStack() as stack:
        book = stack.enter_context(ledger.opened(ledger_path))
        await stack.enter_async_context(mail.served(book, smtp, DRAIN_SECONDS))
        await stack.enter_async_context(server.served(book, http, DRAIN_SECONDS))
        client = await stack.enter_async_context(aiohttp.ClientSession(url))
        yield World(url, client, port_of(smtp))


def a_mail(subject: str = "Your order", recipient: str = "ada@example.com") -> EmailMessage:
    message = EmailMessage()
    message["Message-ID"] = "<order-1@shop>"
    message["From"] = "shop@example.com"
    message["To"] = recipient
    message["Subject"] = subject
    message.set_content("It is on its way.")
    return message
