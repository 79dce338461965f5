"""Bad requests get an answer that names what is wrong."""

import pytest

from tests.integration.sandbox.world import World


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
