"""The carrier."""

import asyncio

import aiohttp
import pytest

from tests.integration.sandbox.world import BOOKING, World


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
