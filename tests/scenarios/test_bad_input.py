"""Bad input at every method and on every subject: a typed answer or a dead letter, no row written, nobody dies."""

import uuid
from typing import Any

import grpc
import nats
import pytest
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from nats.js import JetStreamContext
from shop.customer.v1.customer_service_pb2 import Mode

from cli.stack.layout import ORDERS
from mesh import contract
from mesh.events.dead_letters import STREAM as DEAD_LETTERS
from mesh.identity import new_id
from mesh.rpc.status import error_info
from tests.eventually import eventually
from tests.shop import Shop
from tests.unit.test_shape import FACTS, METHODS, MUTATING, name

pytestmark = pytest.mark.system

HUGE = b"\x0a\x80\x80\x80\x01" + b"x" * (2 << 20)
GARBAGE = [b"\xff\xff\xff", b"\x0a\xff\x01short", bytes(range(256))]


async def rows(shop: Shop) -> dict[str, int]:
    """How many rows each table of each service has."""
    found: dict[str, int] = {}
    for service in shop.state.postgres:
        async with shop.database(service) as database:
            tables = await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for table in (row["tablename"] for row in tables if row["tablename"] != "replica"):
                found[f"{service}.{table}"] = await database.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
    return found


async def quiet(shop: Shop) -> dict[str, int]:
    """The rows, once nothing is under way any more."""
    before = await rows(shop)
    while (after := await rows(shop)) != before:
        before = after
    return after


def pids(shop: Shop) -> set[int]:
    return {process.pid for process in shop.state.processes}


async def answer(shop: Shop, method: MethodDescriptor, request: bytes) -> grpc.aio.AioRpcError | None:
    """What a method says to raw bytes; None for a good answer."""
    services, package = shop.state.services, method.containing_service.file.package
    target = services.get(package, services[ORDERS])  # of what every service answers, one is asked
    path = contract.describe_method(method).path
    async with grpc.aio.insecure_channel(target) as channel:
        try:
            if method.server_streaming:
                await channel.unary_stream(path)(request, timeout=10).read()
            else:
                await channel.unary_unary(path)(request, timeout=10)
        except grpc.aio.AioRpcError as error:
            return error
    return None


@pytest.mark.parametrize("method", METHODS, ids=name)
async def test_bytes_that_are_no_request_are_invalid(shop: Shop, method: MethodDescriptor) -> None:
    before = await quiet(shop)
    for garbage in GARBAGE:
        error = await answer(shop, method, garbage)
        assert error is not None
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
        assert error_info(error).reason == "INVALID_REQUEST"
    assert await rows(shop) == before


@pytest.mark.parametrize("method", METHODS, ids=name)
async def test_a_huge_request_is_refused(shop: Shop, method: MethodDescriptor) -> None:
    before, alive = await quiet(shop), pids(shop)

    error = await answer(shop, method, HUGE)

    assert error is not None
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await rows(shop), pids(shop)) == (before, alive)


@pytest.mark.parametrize("method", MUTATING, ids=name)
async def test_an_empty_command_names_what_is_missing_and_writes_nothing(shop: Shop, method: MethodDescriptor) -> None:
    before = await quiet(shop)

    error = await answer(shop, method, b"")

    assert error is not None
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "request_id is required" in str(error.details())
    assert await rows(shop) == before


def with_ids(message: Descriptor) -> bytes | None:
    """A request about something that does not exist; None if it is about nothing in particular."""
    fields = [field.name for field in message.fields if field.name.endswith("_id") or field.name == "sku"]
    return GetMessageClass(message)(**dict.fromkeys(fields, new_id())).SerializeToString() if fields else None


READS = [each for each in METHODS if each not in MUTATING and with_ids(each.input_type) and "List" not in each.name]


@pytest.mark.parametrize("method", READS, ids=name)
async def test_reading_what_does_not_exist_is_not_found(shop: Shop, method: MethodDescriptor) -> None:
    error = await answer(shop, method, with_ids(method.input_type) or b"")

    assert error is not None
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error_info(error).reason


async def dead(stream: JetStreamContext, subject: str) -> list[str]:
    """The reasons of the dead letters of a subject."""
    info = await stream.stream_info(DEAD_LETTERS.name, subjects_filter=f"dead.*.{subject}")
    return [
        (await stream.get_last_msg(DEAD_LETTERS.name, found)).headers["Dead-Reason"]  # type: ignore[index]
        for found in info.state.subjects or {}
    ]


@pytest.mark.parametrize("fact", FACTS, ids=name)
async def test_what_is_no_fact_ends_as_a_dead_letter_of_each_who_reacts(shop: Shop, fact: Descriptor) -> None:
    client = await nats.connect(shop.state.nats_url)
    stream = client.jetstream()
    listeners = {
        info.name
        for info in await stream.consumers_info("SHOP_EVENTS")
        if info.config.filter_subject == f"{fact.full_name}.*"
    }
    before, alive = await quiet(shop), pids(shop)
    bad: list[tuple[dict[str, Any], bytes]] = [
        ({}, b"no headers"),
        ({"ce-id": "1", "ce-type": fact.full_name}, b"\xff\xff undecodable"),
        ({"ce-id": "2", "ce-type": "shop.unknown.v1.Unheard"}, b""),
        ({"ce-id": "3", "ce-type": fact.full_name}, b"\x0a\x05other"),
        ({"ce-id": "4", "ce-type": fact.full_name}, b"x" * 900_000),
    ]
    for headers, payload in bad:
        subject = f"{fact.full_name}.{uuid.uuid4()}"
        await stream.publish(subject, payload, headers=headers or None)

        async def buried(subject: str = subject) -> bool:
            return len(await dead(stream, subject)) == len(listeners)

        await eventually(buried)
        assert all(await dead(stream, subject))
    await client.close()
    assert (await rows(shop), pids(shop)) == (before, alive)


async def test_facts_that_are_sent_again_with_another_message_id_change_nothing(
    shop: Shop, mode: Mode.ValueType
) -> None:
    order = await shop.outcome(await shop.place(mode, sku=await shop.stocked(3)))
    client = await nats.connect(shop.state.nats_url)
    stream = client.jetstream()
    before = await quiet(shop)
    info = await stream.stream_info("SHOP_EVENTS", subjects_filter=f"*.*.*.*.{order.order_id}")
    for subject in info.state.subjects or {}:
        message = await stream.get_last_msg("SHOP_EVENTS", subject)
        headers = {**(message.headers or {}), "Nats-Msg-Id": uuid.uuid4().hex}
        await stream.publish(subject, message.data or b"", headers=headers)

    async def handled() -> bool:
        infos = await stream.consumers_info("SHOP_EVENTS")
        return all(not each.num_pending and not each.num_ack_pending for each in infos)

    await eventually(handled)
    await client.close()
    assert await rows(shop) == before
