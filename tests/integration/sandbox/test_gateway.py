"""The payment gateway."""

import asyncio
import time

import aiohttp
import pytest

from tests.eventually import eventually
from tests.integration.sandbox.world import CHARGE, World


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
