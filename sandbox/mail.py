"""The mail sink: accepts what it gets over SMTP and delivers it to the ledger."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from email import policy
from email.headerregistry import HeaderRegistry
from email.parser import BytesHeaderParser

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from sandbox.ledger import Ledger, Mail

log: structlog.stdlib.BoundLogger = structlog.get_logger("sandbox")

MAX_MESSAGE_BYTES = 1024 * 1024

# Every header is read as plain text: the parsers for Message-ID and dates raise on what the world sends.
_HEADERS = BytesHeaderParser(policy=policy.default.clone(header_factory=HeaderRegistry(use_default_map=False)))


@asynccontextmanager
async def served(ledger: Ledger, listener: socket.socket, drain_seconds: float) -> AsyncGenerator[None]:
    """Answer SMTP on `listener`; on exit stop listening, then let messages that are coming in finish."""
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd logs every command of every client
    loop = asyncio.get_running_loop()
    open_connections: set[_Connection] = set()
    server = await loop.create_server(lambda: _Connection(ledger, open_connections, loop), sock=listener)
    try:
        yield
    finally:
        server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await asyncio.gather(*(connection.drain() for connection in open_connections))
        for connection in list(open_connections):
            connection.abort()
        await server.wait_closed()


class _Connection(SMTP):
    """One client. The lock is held while a message comes in, so that a drain waits until it is answered."""

    def __init__(self, ledger: Ledger, open_connections: "set[_Connection]", loop: asyncio.AbstractEventLoop) -> None:
        # The host's name would be a DNS query per connection.
        super().__init__(_Mailbox(ledger), hostname="sandbox", data_size_limit=MAX_MESSAGE_BYTES, loop=loop)
        self._open_connections = open_connections
        self._receiving = asyncio.Lock()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._open_connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._open_connections.discard(self)
        super().connection_lost(error)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd names methods after commands
        async with self._receiving:
            await super().smtp_DATA(arg)

    async def drain(self) -> None:
        async with self._receiving:
            if self.transport:
                self.transport.close()

    def abort(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


class _Mailbox:
    """aiosmtpd calls these as the commands of a client come in; the answer is the SMTP reply."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address.partition("@")[0].lower() == "bounce":
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        mail = _mail(envelope)
        self._ledger.add_mail(mail)
        log.info("mail", message_id=mail.message_id, size=len(mail.raw))
        return "250 2.0.0 Accepted"

    async def handle_exception(self, error: Exception) -> str:
        """Our fault, not the sender's: a reply that makes it try again."""
        log.error("mail_not_accepted", exc_info=error)
        return "451 4.3.0 Try again later"


def _mail(envelope: Envelope) -> Mail:
    raw = envelope.original_content or b""
    headers = _HEADERS.parsebytes(raw)
    return Mail(
        message_id=headers["Message-ID"],
        sender=envelope.mail_from or "",
        recipient=",".join(envelope.rcpt_tos),
        subject=headers["Subject"] or "",
        raw=raw,
    )
