"""The ledger, which outlives the process."""

import sqlite3
from pathlib import Path

import aiosmtplib
import pytest

from tests.integration.sandbox.world import BOOKING, World, a_mail, a_world


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
