"""The outside world over real HTTP and real SMTP, with a real ledger file."""

import asyncio
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from sandbox import door, ledger, mail, server

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


def _listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def _port(listener: socket.socket) -> int:
    return listener.getsockname()[1]


@asynccontextmanager
async def a_world(ledger_path: Path) -> AsyncGenerator[World]:
    http, smtp = _listener(), _listener()
    url = f"http://127.0.0.1:{_port(http)}"
    async with AsyncExitStack() as stack:
        book = stack.enter_context(ledger.opened(ledger_path))
        await stack.enter_async_context(mail.served(book, smtp, DRAIN_SECONDS))
        await stack.enter_async_context(server.served(book, http, DRAIN_SECONDS))
        client = await stack.enter_async_context(aiohttp.ClientSession(url))
        yield World(url, client, _port(smtp))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path / "ledger.db") as it:
        yield it


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


def a_mail(subject: str = "Your order", recipient: str = "ada@example.com") -> EmailMessage:
    message = EmailMessage()
    message["Message-ID"] = "<order-1@shop>"
    message["From"] = "shop@example.com"
    message["To"] = recipient
    message["Subject"] = subject
    message.set_content("It is on its way.")
    return message


# --- the gateway


async def test_good_token_is_charged_once_however_often_it_is_asked(world: World) -> None:
    status, first = await world.pay("p1")
    answers = await asyncio.gather(*(world.pay("p1") for _ in range(20)))

    assert status == 200
    assert first | {"charge_id": ""} == {
        "key": "p1",
        "state": "charged",
        "amount_minor": 1999,
        "currency": "EUR",
        "charge_id": "",
    }
    assert answers == [(200, first)] * 20
    assert (await world.ask("GET", "/ledger/summary"))[1]["totals"]["charged"] == {"EUR": 1999}


@pytest.mark.parametrize(
    ("token", "decline_code"),
    [
        ("tok_declined", "card_declined"),
        ("tok_insufficient_funds", "insufficient_funds"),
        ("tok_unheard_of", "invalid_token"),
        ("visa", "invalid_token"),
    ],
)
async def test_bad_token_is_declined_every_time(world: World, token: str, decline_code: str) -> None:
    declined = {"key": "p1", "state": "declined", "decline_code": decline_code}

    assert await world.pay("p1", token=token) == (402, declined)
    assert await world.pay("p1", token=token) == (402, declined)
    assert await world.ask("GET", "/v1/payments/p1") == (200, declined)
    assert await world.ask("POST", "/v1/payments/p1/cancel") == (200, declined)


async def test_slow_token_is_charged_before_the_caller_gives_up(world: World) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await world.ask(
            "PUT",
            "/v1/payments/p1",
            json=CHARGE | {"token": "tok_slow"},
            timeout=aiohttp.ClientTimeout(total=0.2),
        )

    assert (await world.ask("GET", "/v1/payments/p1"))[1]["state"] == "charged"


async def test_slow_answers_come_after_two_seconds(world: World) -> None:
    started = time.monotonic()
    answers = await asyncio.gather(world.pay("p1", token="tok_slow"), world.ship("s1", postcode="55555"))

    assert [status for status, _ in answers] == [200, 200]
    assert time.monotonic() - started >= 2


async def test_flaky_token_is_charged_though_the_first_answer_is_lost(world: World) -> None:
    assert await world.pay("p1", token="tok_flaky") == (503, {"error": "unavailable"})
    _, seen = await world.ask("GET", "/v1/payments/p1")

    assert seen["state"] == "charged"
    assert await world.pay("p1", token="tok_flaky") == (200, seen)


@pytest.mark.parametrize("change", [{"amount_minor": 1}, {"currency": "USD"}, {"token": "tok_declined"}])
async def test_payment_key_with_another_body_is_refused(world: World, change: dict[str, object]) -> None:
    _, first = await world.pay("p1")

    assert await world.pay("p1", **change) == (409, {"error": "key_reused"})
    assert await world.ask("GET", "/v1/payments/p1") == (200, first)


async def test_cancelling_a_charge_refunds_it_once_and_for_all(world: World) -> None:
    _, charged = await world.pay("p1")
    refunded = charged | {"state": "refunded"}

    assert await world.ask("POST", "/v1/payments/p1/cancel") == (200, refunded)
    assert await world.ask("POST", "/v1/payments/p1/cancel") == (200, refunded)
    assert await world.pay("p1") == (410, refunded)
    assert (await world.ask("GET", "/ledger/summary"))[1]["totals"] == {
        "charged": {},
        "refunded": {"EUR": 1999},
    }


async def test_cancelling_an_unseen_payment_refuses_the_late_charge(world: World) -> None:
    cancelled = {"key": "p1", "state": "cancelled"}

    assert await world.ask("POST", "/v1/payments/p1/cancel") == (200, cancelled)
    assert await world.pay("p1") == (410, cancelled)
    assert await world.ask("POST", "/v1/payments/p1/cancel") == (200, cancelled)


async def test_charge_and_cancel_in_a_race_never_keep_the_money(world: World) -> None:
    keys = [f"p{n}" for n in range(50)]
    calls = [(world.pay(key), world.ask("POST", f"/v1/payments/{key}/cancel")) for key in keys]
    await asyncio.gather(*(call for pair in calls for call in pair))
    counts = (await world.ask("GET", "/ledger/summary"))[1]["counts"]["payments"]

    assert counts["charged"] == 0
    assert counts["refunded"] + counts["cancelled"] == 50


async def test_charge_cancelled_while_its_answer_is_under_way_says_so(world: World) -> None:
    slow = asyncio.create_task(world.pay("p1", token="tok_slow"))

    async def charged() -> bool:
        return (await world.ask("GET", "/v1/payments/p1"))[0] == 200

    await eventually(charged)
    _, refunded = await world.ask("POST", "/v1/payments/p1/cancel")

    assert refunded["state"] == "refunded"
    assert await slow == (410, refunded)


# --- the carrier


async def test_shipment_is_booked_once_however_often_it_is_asked(world: World) -> None:
    status, first = await world.ship("s1")

    assert status == 200
    assert first | {"tracking": ""} == {"key": "s1", "state": "booked", "tracking": ""}
    assert await world.ship("s1") == (200, first)
    assert await world.ask("GET", "/v1/shipments/s1") == (200, first)


@pytest.mark.parametrize(("postcode", "refusal_code"), [("00000", "no_service_area"), ("99999", "oversize")])
async def test_bad_postcode_is_refused_every_time(world: World, postcode: str, refusal_code: str) -> None:
    refused = {"key": "s1", "state": "refused", "refusal_code": refusal_code}

    assert await world.ship("s1", postcode=postcode) == (422, refused)
    assert await world.ship("s1", postcode=postcode) == (422, refused)
    assert await world.ask("GET", "/v1/shipments/s1") == (200, refused)
    assert await world.ask("POST", "/v1/shipments/s1/cancel") == (200, refused)


async def test_slow_postcode_is_booked_before_the_caller_gives_up(world: World) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await world.ask(
            "PUT",
            "/v1/shipments/s1",
            json=BOOKING | {"postcode": "55555"},
            timeout=aiohttp.ClientTimeout(total=0.2),
        )

    assert (await world.ask("GET", "/v1/shipments/s1"))[1]["state"] == "booked"


async def test_flaky_postcode_is_booked_though_the_first_answer_is_lost(world: World) -> None:
    assert await world.ship("s1", postcode="44444") == (503, {"error": "unavailable"})
    _, seen = await world.ask("GET", "/v1/shipments/s1")

    assert seen["state"] == "booked"
    assert await world.ship("s1", postcode="44444") == (200, seen)


async def test_shipment_key_with_another_body_is_refused(world: World) -> None:
    await world.ship("s1")

    assert await world.ship("s1", parcels=[{"sku": "mug", "quantity": 3}]) == (409, {"error": "key_reused"})


async def test_booked_shipment_has_left_and_cannot_be_cancelled(world: World) -> None:
    _, booked = await world.ship("s1")

    assert await world.ask("POST", "/v1/shipments/s1/cancel") == (409, booked)
    assert await world.ship("s1") == (200, booked)


async def test_cancelling_an_unseen_shipment_refuses_the_late_booking(world: World) -> None:
    cancelled = {"key": "s1", "state": "cancelled"}

    assert await world.ask("POST", "/v1/shipments/s1/cancel") == (200, cancelled)
    assert await world.ship("s1") == (410, cancelled)


# --- mail


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


# --- bad input


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount_minor": 0}, "amount_minor"),
        ({"amount_minor": -1}, "amount_minor"),
        ({"amount_minor": True}, "amount_minor"),
        ({"amount_minor": 1.5}, "amount_minor"),
        ({"amount_minor": "10"}, "amount_minor"),
        ({"amount_minor": None}, "amount_minor"),
        ({"amount_minor": 10**30}, "amount_minor"),
        ({"currency": "euro"}, "currency"),
        ({"currency": "eur"}, "currency"),
        ({"currency": ""}, "currency"),
        ({"token": ""}, "token"),
        ({"token": "x" * 201}, "token"),
        ({"token": "tok_\u0000"}, "token"),
        ({"token": ["tok_visa"]}, "token"),
        ({"tip": 1}, "tip"),
    ],
)
async def test_bad_payment_names_its_field(world: World, change: dict[str, object], field: str) -> None:
    status, answer = await world.pay("p1", **change)

    assert (status, answer["field"]) == (400, field)
    assert answer["error"]
    assert (await world.ask("GET", "/v1/payments/p1"))[0] == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"postcode": 10115}, "postcode"),
        ({"postcode": ""}, "postcode"),
        ({"country": "Germany"}, "country"),
        ({"parcels": []}, "parcels"),
        ({"parcels": {}}, "parcels"),
        ({"parcels": [{"sku": "mug", "quantity": 0}]}, "parcels.0.quantity"),
        ({"parcels": [{"quantity": 1}]}, "parcels.0.sku"),
    ],
)
async def test_bad_shipment_names_its_field(world: World, change: dict[str, object], field: str) -> None:
    status, answer = await world.ship("s1", **change)

    assert (status, answer["field"]) == (400, field)
    assert (await world.ask("GET", "/v1/shipments/s1"))[0] == 404


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b"null", b"\xff\xfe", b"[" * 60_000, b'{"token": "\\ud800"}', b'{"a":' * 9]
)
@pytest.mark.parametrize("path", ["/v1/payments/k", "/v1/shipments/k"])
async def test_undecodable_body_is_a_bad_request(world: World, path: str, body: bytes) -> None:
    status, answer = await world.ask("PUT", path, data=body)

    assert (status, answer["field"]) == (400, "body")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_body_that_is_not_what_its_header_says_is_a_bad_request(world: World, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    async with world.http.put("/v1/payments/k", data=b"not compressed", headers=headers) as response:
        assert response.status == 400


@pytest.mark.parametrize(
    "key", ["a%20b", "%00", "%0A", "%C3%A9", "%ED%A0%80", "%FF", "k" * 256], ids=lambda key: key[:12]
)
async def test_bad_key_is_a_bad_request(world: World, key: str) -> None:
    for path in (f"/v1/payments/{key}", f"/v1/payments/{key}/cancel"):
        method = "POST" if path.endswith("cancel") else "GET"
        status, answer = await world.ask(method, path)

        assert (status, answer["field"]) == (400, "key")


async def test_key_may_be_a_path(world: World) -> None:
    _, charged = await world.pay("0193a%2Fcharge")

    assert charged["key"] == "0193a/charge"


async def test_body_over_the_limit_is_refused(world: World) -> None:
    assert (await world.ask("PUT", "/v1/payments/p1", data=b" " * 65_536))[0] == 400
    assert (await world.ask("PUT", "/v1/payments/p1", data=b" " * 65_537))[0] == 413


async def test_unknown_path_and_method_are_answered_in_json(world: World) -> None:
    assert await world.ask("GET", "/v1/nothing") == (404, {"error": "Not Found"})
    async with world.http.delete("/v1/payments/p1") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD,PUT"
        assert await response.json() == {"error": "Method Not Allowed"}


async def test_key_never_seen_is_not_found(world: World) -> None:
    for resource in ("payments", "shipments"):
        assert await world.ask("GET", f"/v1/{resource}/nobody") == (404, {"error": "not_found"})


# --- the ledger


async def test_ledger_shows_everything_in_order(world: World) -> None:
    await world.pay("p1")
    await world.pay("p2", token="tok_declined")
    await world.ship("s1")
    await world.ask("POST", "/v1/shipments/s2/cancel")
    _, book = await world.ask("GET", "/ledger")

    assert [(row["key"], row["state"]) for row in book["payments"]] == [("p1", "charged"), ("p2", "declined")]
    assert [(row["key"], row["state"]) for row in book["shipments"]] == [("s1", "booked"), ("s2", "cancelled")]
    assert [row["parcels"] for row in book["shipments"]] == [BOOKING["parcels"], []]
    assert book["totals"] == {"charged": {"EUR": 1999}, "refunded": {}}


async def test_summary_counts_every_state(world: World) -> None:
    await world.pay("p1")
    await world.pay("p2", currency="USD")
    await world.pay("p3", token="tok_declined")
    await world.ship("s1", postcode="00000")
    _, summary = await world.ask("GET", "/ledger/summary")

    assert summary == {
        "counts": {
            "payments": {"charged": 2, "refunded": 0, "declined": 1, "cancelled": 0},
            "shipments": {"booked": 0, "refused": 1, "cancelled": 0},
            "mails": {"received": 0, "distinct_message_ids": 0},
        },
        "totals": {"charged": {"EUR": 1999, "USD": 1999}, "refunded": {}},
    }


async def test_reopened_ledger_remembers_everything(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with a_world(path) as before:
        _, charged = await before.pay("p1")
        await before.ask("POST", "/v1/payments/p2/cancel")
        _, booked = await before.ship("s1")
        await before.send(a_mail())
    async with a_world(path) as after:
        assert await after.pay("p1") == (200, charged)
        assert (await after.pay("p2"))[0] == 410
        assert await after.ship("s1") == (200, booked)
        assert (await after.ask("GET", "/ledger/summary"))[1]["counts"]["mails"]["received"] == 1


async def test_locked_ledger_is_unhealthy_and_charges_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with a_world(path) as world:
        assert await world.ask("GET", "/health") == (200, {"status": "ok"})
        intruder = sqlite3.connect(path, isolation_level=None)
        intruder.execute("BEGIN IMMEDIATE")

        assert await world.ask("GET", "/health") == (503, {"error": "ledger_unavailable"})
        assert await world.pay("p1") == (503, {"error": "ledger_unavailable"})
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await world.send(a_mail())
        assert refused.value.code == 451

        intruder.close()
        assert await world.ask("GET", "/health") == (200, {"status": "ok"})
        assert await world.ask("GET", "/v1/payments/p1") == (404, {"error": "not_found"})


# --- traces


async def test_request_continues_the_callers_trace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(door, "tracer", provider.get_tracer("sandbox"))
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await world.ask("PUT", "/v1/payments/p1", json=CHARGE, headers={"traceparent": caller})
    await world.pay("p2")
    (span,) = spans.get_finished_spans()

    assert span.name == "PUT /v1/payments/{key}"
    assert span.kind is SpanKind.SERVER
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == caller.split("-")[1]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == caller.split("-")[2]
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 200


# --- the end


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
        listener = _listener()
        port = _port(listener)
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
    listener = _listener()
    port = _port(listener)
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
