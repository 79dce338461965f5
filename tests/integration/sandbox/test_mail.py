"""The mail server."""

import aiosmtplib
import pytest

from tests.integration.sandbox.world import World, a_mail


async def test_every_accepted_mail_is_kept_and_duplicates_too(world: World) -> None:
    await world.send(a_mail())
    await world.send(a_mail())
    _, book = await world.ask("GET", "/ledger")
    _, summary = await world.ask("GET", "/ledger/summary")
    first = book["mails"][0]

    assert first["message_id"] == "<order-1@shop>"
    assert first["sender"] == "shop@example.com"
    assert first["recipient"] == "ada@example.com"
    assert first["subject"] == "Your order"
    assert "It is on its way." in first["raw"]
    assert summary["counts"]["mails"] == {"received": 2, "distinct_message_ids": 1}


async def test_subject_is_kept_as_a_person_reads_it(world: World) -> None:
    await world.send(a_mail(subject="Größe ✓"))

    assert (await world.ask("GET", "/ledger"))[1]["mails"][0]["subject"] == "Größe ✓"


async def test_bouncing_recipient_is_refused(world: World) -> None:
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        await world.send(a_mail(recipient="bounce@example.com"))

    assert refused.value.recipients[0].code == 550
    assert (await world.ask("GET", "/ledger"))[1]["mails"] == []


@pytest.mark.parametrize(
    "raw",
    [b"", b"Message-ID: @@@<<\r\nSubject: =?nonsense?q?x?=\r\n", b"Subject: \xff\x00\r\n\r\n\xff", b"\r\n" * 100],
)
async def test_malformed_mail_is_kept_as_it_came(world: World, raw: bytes) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=world.smtp_port) as client:
        await client.sendmail("a@example.com", ["b@example.com"], raw)

    assert len((await world.ask("GET", "/ledger"))[1]["mails"]) == 1


async def test_mail_beyond_a_mebibyte_is_refused(world: World) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=world.smtp_port) as client:
        with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
            await client.sendmail("a@example.com", ["b@example.com"], b"x" * 60 + b"\r\nyyy" * 300_000)

    assert refused.value.code == 552
