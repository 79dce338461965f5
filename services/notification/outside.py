"""The outside: the mail server, and those messages that nobody waits for any more."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime, parseaddr
from urllib.parse import urlsplit

import aiosmtplib
import structlog

from mesh.errors import Outage
from mesh.postgres.database import Database
from mesh.telemetry import tracing
from services.notification import core, store
from services.notification.core import Confirmation, Money, State, Verdict

log: structlog.stdlib.BoundLogger = structlog.get_logger("notification.outside")

PATIENCE_SECONDS = 2.5
"""For one message, its turn included: shorter than the deadline of a call, so that the caller hears of the outage."""
CONNECTIONS = 10
"""To the mail server: as many messages are under way at once."""
DOMAIN = "ensemble.example"
SENDER = f"orders@{DOMAIN}"
PERMANENT = 500
"""From this reply code on a mail server says: never."""

# Headers are plain text: the standard library's parsers change a Message-ID that they do not like, and fail on
# addresses that they do not understand.
POLICY = SMTPUTF8.clone(max_line_length=998, header_factory=HeaderRegistry(use_default_map=False))

WITHOUT_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
WITH_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"
"""Currencies of ISO 4217; all others have two."""


class SmtpMailer:
    """The mailer of `core`: some connections, kept, with one message at a time on each."""

    def __init__(self, connections: Sequence[aiosmtplib.SMTP]) -> None:
        first = connections[0]
        self._server = {"server.address": first.hostname or "", "server.port": first.port or 25}
        self._idle: asyncio.LifoQueue[aiosmtplib.SMTP] = asyncio.LifoQueue()
        for each in connections:
            self._idle.put_nowait(each)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> "AsyncGenerator[SmtpMailer]":
        """The mail server at `url`, `smtp://host:port`; connected when there is something to send."""
        address = urlsplit(url)
        # Its own name is given, because looking it up may take seconds.
        connections = [
            aiosmtplib.SMTP(hostname=address.hostname, port=address.port, local_hostname=DOMAIN)
            for _ in range(CONNECTIONS)
        ]
        try:
            yield cls(connections)
        finally:
            await asyncio.gather(*(each.quit(timeout=1) for each in connections), return_exceptions=True)

    async def send(self, notification_id: str, order_id: str, confirmation: Confirmation) -> Verdict:
        try:
            message = _message(notification_id, order_id, confirmation)
        except ValueError:
            return Verdict(State.REFUSED)  # no mailbox has such a name
        with tracing.calling("SMTP DATA", self._server):
            return await self._sent(confirmation.email, message)

    async def _sent(self, email: str, message: bytes) -> Verdict:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._connection() as smtp:
                return await _transmit(smtp, email, message)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise Outage(f"mail server: {type(error).__name__}") from None  # the error itself may name the mailbox

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[aiosmtplib.SMTP]:
        smtp = await self._idle.get()
        try:
            if not smtp.is_connected:
                await smtp.connect()
            yield smtp
        finally:
            self._idle.put_nowait(smtp)


async def _transmit(smtp: aiosmtplib.SMTP, email: str, message: bytes) -> Verdict:
    options = () if email.isascii() else ("SMTPUTF8",)
    try:
        await smtp.sendmail(SENDER, [email], message, mail_options=options)
    except (ValueError, aiosmtplib.SMTPNotSupported):
        return Verdict(State.REFUSED)  # no mailbox that this server knows has such a name
    except aiosmtplib.SMTPRecipientsRefused as error:
        return _refused(error.recipients[0])
    except aiosmtplib.SMTPDataError as error:
        return _refused(error)
    except BaseException:
        smtp.close()  # in the middle of a dialogue: the next reply would be taken for another's
        raise
    return Verdict(State.SENT, datetime.now(UTC))


async def settle_orphans(database: Database, mailer: core.Mailer) -> None:
    """Send for whoever set out to and never came back. Announces nothing: a fact's handler is repeated until it has."""
    while True:
        async with database.connection() as connection:
            orphan = await store.take_orphan(connection)
        if orphan is None:
            return
        verdict = await core.ask(mailer, orphan)
        async with database.transaction() as connection:
            settled = await core.settle(store.PostgresNotifications(connection), orphan.notification_id, verdict)
        log.info(
            "orphan_settled",
            order__id=settled.order_id,
            notification_id=settled.notification_id,
            state=settled.state.value,
        )


def _refused(error: aiosmtplib.SMTPResponseException) -> Verdict:
    if error.code < PERMANENT:
        raise error
    return Verdict(State.REFUSED)


def _message(notification_id: str, order_id: str, confirmation: Confirmation) -> bytes:
    """The mail. Raises ValueError if its address is not a plain one, which SMTP might take for another."""
    if not confirmation.email or parseaddr(confirmation.email) != ("", confirmation.email):
        raise ValueError("not a plain address")
    message = EmailMessage(POLICY)
    message["Message-ID"] = f"<{notification_id}@{DOMAIN}>"
    message["Date"] = format_datetime(datetime.now(UTC))
    message["From"] = f"Ensemble <{SENDER}>"
    message["To"] = confirmation.email
    message["Subject"] = f"Your order {order_id} is on its way"
    message.set_content(
        f"Your order {order_id} is on its way.\n\n"
        f"Total:    {_amount(confirmation.total)}\n"
        f"Tracking: {confirmation.tracking}\n"
    )
    return message.as_bytes()


def _amount(money: Money) -> str:
    decimals = 0 if money.currency in WITHOUT_DECIMALS else 3 if money.currency in WITH_THREE_DECIMALS else 2
    return f"{Decimal(money.amount_minor).scaleb(-decimals)} {money.currency}"
