"""The kit's RPC, both sides, over real connections."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from shop.inventory.v1 import inventory_service_pb2 as pb
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.orders.v1 import orders_service_pb2 as orders_pb
from shop.orders.v1.orders_service_pb2_grpc import OrderServiceStub

from mesh.errors import Outage, Refusal, not_found, refused
from mesh.health import EVENTS, PROCESS, Health
from mesh.rpc.channel import channel, connected
from mesh.rpc.server import serving
from mesh.rpc.status import from_error
from tests.eventually import eventually

SERVICE = pb.DESCRIPTOR.services_by_name["InventoryService"]
ORDER_ID = "0193a8b0-0000-7000-8000-000000000000"


class Servicer:
    """Answers as the SKU says."""

    def __init__(self) -> None:
        self.remaining: float | None = None
        self.size = 0
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.release = asyncio.Event()

    async def GetStock(self, request: pb.GetStockRequest, context: Any) -> pb.GetStockResponse:
        self.remaining = context.time_remaining()
        self.size = request.ByteSize()
        match request.sku:
            case "GONE":
                raise not_found("UNKNOWN_SKU", "there is no item GONE", sku="GONE")
            case "DOWN":
                raise Outage("secret host does not answer")
            case "BUG":
                raise ValueError("secret detail")
            case "SLOW":
                await self._wait()
            case _:
                pass
        return pb.GetStockResponse()

    async def _wait(self) -> None:
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def AdjustStock(self, request: pb.AdjustStockRequest, context: Any) -> pb.AdjustStockResponse:
        raise refused("OUT_OF_STOCK", "only 3 left", sku=request.sku, available="3")

    async def ReserveStock(self, request: Any, context: Any) -> Any:
        return pb.ReserveStockResponse()

    ReleaseStock = ListStock = ReserveStock


class World:
    def __init__(self, servicer: Servicer, port: int, stub: InventoryServiceStub, doors: dict[str, bool]) -> None:
        self.servicer = servicer
        self.address = f"127.0.0.1:{port}"
        self.stub = stub
        self.doors = doors


@asynccontextmanager
async def opened() -> AsyncGenerator[World]:
    servicer = Servicer()
    doors = {"rpc": True, "events": True}

    async def rpc() -> bool:
        return doors["rpc"]

    async def events() -> bool:
        return doors["events"]

    async with AsyncExitStack() as stack:
        health = Health(rpc, events)
        port = await stack.enter_async_context(serving("127.0.0.1:0", [(SERVICE, servicer)], health, 5))
        peers = await stack.enter_async_context(connected({"shop.inventory.v1": f"ipv4:127.0.0.1:{port}"}))
        stub = InventoryServiceStub(peers.channel(SERVICE.full_name))
        yield World(servicer, port, stub, doors)


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    async with opened() as world:
        yield world


async def error_of(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


def details(error: grpc.aio.AioRpcError) -> list[Any]:
    trailers = dict(error.trailing_metadata() or ())
    kinds = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
    packed = status_pb2.Status.FromString(trailers["grpc-status-details-bin"]).details
    return [message for detail in packed for message in (kind() for kind in kinds) if detail.Unpack(message)]


async def test_a_refusal_is_a_status_with_one_error_info(world: World) -> None:
    error = await error_of(world.stub.AdjustStock(pb.AdjustStockRequest(request_id="r", sku="MUG", delta=-5)))

    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "only 3 left"
    (info,) = details(error)
    assert (info.reason, info.domain) == ("OUT_OF_STOCK", "shop.inventory.v1")
    assert dict(info.metadata) == {"sku": "MUG", "available": "3"}


async def test_a_refusal_arrives_at_the_caller_as_it_was_raised(world: World) -> None:
    refusal = from_error(await error_of(world.stub.GetStock(pb.GetStockRequest(sku="GONE"))))

    assert isinstance(refusal, Refusal)
    assert (refusal.kind.name, refusal.reason, refusal.metadata) == ("NOT_FOUND", "UNKNOWN_SKU", {"sku": "GONE"})


async def test_a_bad_request_names_every_field_and_does_not_reach_the_service(world: World) -> None:
    error = await error_of(world.stub.AdjustStock(pb.AdjustStockRequest(sku="mug")))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    info, bad = details(error)
    assert info.reason == "INVALID_REQUEST"
    assert {violation.field for violation in bad.field_violations} == {"request_id", "sku"}


async def test_an_outage_may_be_retried_and_leaks_nothing(world: World) -> None:
    error = await error_of(world.stub.GetStock(pb.GetStockRequest(sku="DOWN")))

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "secret" not in str(error.details())
    info, retry = details(error)
    assert info.reason == "UNAVAILABLE"
    assert retry.retry_delay.ToMilliseconds() > 0


async def test_a_bug_is_internal_and_leaks_nothing(world: World) -> None:
    error = await error_of(world.stub.GetStock(pb.GetStockRequest(sku="BUG")))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error.details())


async def test_a_call_has_the_deadline_of_its_contract(world: World) -> None:
    await world.stub.GetStock(pb.GetStockRequest(sku="MUG"))

    assert world.servicer.remaining is not None
    assert 1 < world.servicer.remaining < 3  # two seconds, by a clock that is not exact


async def test_a_call_that_is_given_up_is_cancelled_at_the_server(world: World) -> None:
    call = asyncio.ensure_future(world.stub.GetStock(pb.GetStockRequest(sku="SLOW")))
    await world.servicer.started.wait()

    call.cancel()

    await asyncio.wait_for(world.servicer.cancelled.wait(), 1)


async def test_a_request_larger_than_allowed_is_refused_before_it_is_read(world: World) -> None:
    error = await error_of(world.stub.GetStock(pb.GetStockRequest(sku="x" * (2 << 20))))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_bytes_that_are_no_request_get_a_typed_answer_and_the_server_goes_on(world: World) -> None:
    async with grpc.aio.insecure_channel(world.address) as raw:
        method = raw.unary_unary(f"/{SERVICE.full_name}/GetStock")
        error = await error_of(method(b"\xff\xff\xff"))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "cannot be decoded" in str(error.details())
    await world.stub.GetStock(pb.GetStockRequest(sku="MUG"))


async def test_health_is_told_by_door(world: World) -> None:
    async with grpc.aio.insecure_channel(world.address) as raw:
        health = health_pb2_grpc.HealthStub(raw)

        async def statuses() -> list[str]:
            doors = ("", SERVICE.full_name, EVENTS, PROCESS)
            answers = [await health.Check(health_pb2.HealthCheckRequest(service=door)) for door in doors]
            return [health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) for answer in answers]

        assert await statuses() == ["SERVING"] * 4
        world.doors["events"] = False

        async def rpc_only() -> bool:
            return await statuses() == ["SERVING", "SERVING", "NOT_SERVING", "SERVING"]

        await eventually(rpc_only)
        world.doors["rpc"] = False

        async def only_the_process() -> bool:
            return await statuses() == ["NOT_SERVING", "NOT_SERVING", "NOT_SERVING", "SERVING"]

        await eventually(only_the_process)


async def test_draining_lets_a_call_in_flight_finish_and_reports_not_serving() -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(opened())
        async with channel(f"ipv4:{world.address}", "shop.inventory.v1") as client:
            call = asyncio.ensure_future(InventoryServiceStub(client).GetStock(pb.GetStockRequest(sku="SLOW")))
            await world.servicer.started.wait()
            health = health_pb2_grpc.HealthStub(client)
            watching = health.Watch(health_pb2.HealthCheckRequest())
            assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
            closing = asyncio.ensure_future(stack.aclose())
            assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            watching.cancel()
            world.servicer.release.set()
            assert await call == pb.GetStockResponse()
            await closing


async def test_draining_ends_a_stream_so_that_its_reader_asks_elsewhere() -> None:
    async with AsyncExitStack() as stack:
        address, servicer = await stack.enter_async_context(watched())
        async with channel(f"ipv4:{address}", "shop.orders.v1") as client:
            watching = OrderServiceStub(client).WatchOrder(orders_pb.WatchOrderRequest(order_id=ORDER_ID))
            await watching.read()
            closing = asyncio.ensure_future(stack.aclose())
            error = await error_of(watching.read())
            await closing

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert servicer.ended.is_set()


class Watched:
    """A stream that would never end by itself."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def WatchOrder(self, request: Any, context: Any) -> AsyncGenerator[orders_pb.WatchOrderResponse]:
        try:
            yield orders_pb.WatchOrderResponse()
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def GetOrder(self, request: Any, context: Any) -> Any:
        return orders_pb.GetOrderResponse()

    SubmitOrder = RequestCancel = CreateOrder = CompleteOrder = CancelOrder = ListOrders = RebuildTimelines = GetOrder


@asynccontextmanager
async def watched() -> AsyncGenerator[tuple[str, Watched]]:
    async def rpc() -> bool:
        return True

    servicer = Watched()
    service = orders_pb.DESCRIPTOR.services_by_name["OrderService"]
    async with serving("127.0.0.1:0", [(service, servicer)], Health(rpc), 60) as port:
        yield f"127.0.0.1:{port}", servicer


async def test_reflection_lists_every_service(world: World) -> None:
    async with grpc.aio.insecure_channel(world.address) as raw:
        stub = reflection_pb2_grpc.ServerReflectionStub(raw)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]

    names = {service.name for service in answers[0].list_services_response.service}
    assert {SERVICE.full_name, "grpc.health.v1.Health", "grpc.channelz.v1.Channelz"} <= names


async def test_a_port_in_use_is_a_clear_error(world: World) -> None:
    async def rpc() -> bool:
        return True

    with pytest.raises(OSError, match=f"cannot listen on {world.address}"):
        async with serving(world.address, [], Health(rpc), 1):
            pass


async def test_what_the_contract_does_not_know_is_dropped_at_the_door(world: World) -> None:
    request = pb.GetStockRequest(sku="MUG")
    unknown = b"\xfa\x07\x80\x80\x04" + b"x" * (1 << 16)  # field 127
    async with grpc.aio.insecure_channel(world.address) as channel:
        await channel.unary_unary("/shop.inventory.v1.InventoryService/GetStock")(request.SerializeToString() + unknown)

    assert world.servicer.size == request.ByteSize()
