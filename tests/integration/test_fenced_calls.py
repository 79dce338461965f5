"""The fence on the wire: from the orchestrator's caller, through a service that knows nothing of it, to PostgreSQL."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from shop.inventory.v1 import inventory_service_pb2 as pb
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.type.v1.money_pb2 import Money
from shop.type.v1.purchase_pb2 import Item

from mesh import contract, fence
from mesh.errors import Outage
from mesh.health import Health
from mesh.postgres.database import Database
from mesh.postgres.migrations.files import Migrations
from mesh.rpc.channel import Peers, connected
from mesh.rpc.server import serving
from mesh.rpc.status import error_info, from_error
from orchestrator.caller import Call, StaleEpoch
from orchestrator.grpc_caller import GrpcCaller
from services.inventory.rpc import SERVICE, InventoryServicer
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

SAGA = "0193a8b0-0000-7000-8000-000000000001"


class Attentive(InventoryServicer):
    """The service; it also remembers how it was asked."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.headers: dict[str, str] = {}

    async def ReserveStock(self, request: pb.ReserveStockRequest, context: Any) -> pb.ReserveStockResponse:
        self.headers.update({key: str(value) for key, value in context.invocation_metadata()})
        return await super().ReserveStock(request, context)


class Inventory:
    """The service at its RPC door."""

    def __init__(self, database: Database, peers: Peers, headers: dict[str, str]) -> None:
        self.database = database
        self.headers = headers
        """Of the last reservation that was asked for."""
        self.stub = InventoryServiceStub(peers.channel(SERVICE.full_name))
        self._caller = GrpcCaller(peers.channel)

    async def reserve(self, epoch: int, name: str) -> None:
        """Reserve a mug, as the orchestrator does. Raises StaleEpoch."""
        reserving = contract.method(f"/{SERVICE.full_name}/ReserveStock")
        await self._caller.call(
            Call(reserving, reservation(name), name, saga_id=SAGA, path="reserve_stock", attempt=1, epoch=epoch)
        )


def reservation(name: str) -> pb.ReserveStockRequest:
    return pb.ReserveStockRequest(
        request_id=name, reservation_id=name, order_id=SAGA, items=[Item(sku="MUG", quantity=1)]
    )


@pytest.fixture
async def inventory(foundations: Foundations) -> AsyncGenerator[Inventory]:
    migrations = Migrations.of("services.inventory")
    async with AsyncExitStack() as stack:
        opened = Database.open(await foundations.database(), "inventory", migrations)
        database = await stack.enter_async_context(opened)
        servicer = Attentive(database)
        servicers = [(SERVICE, servicer)]
        port = await stack.enter_async_context(serving("127.0.0.1:0", servicers, Health(database.answers), 5))
        peers = await stack.enter_async_context(connected({SERVICE.file.package: f"ipv4:127.0.0.1:{port}"}))
        inventory = Inventory(database, peers, servicer.headers)
        price = Money(currency="EUR", amount_minor=500)
        await inventory.stub.AdjustStock(
            pb.AdjustStockRequest(request_id="seed", sku="MUG", delta=9, name="Mug", price=price)
        )
        yield inventory


async def test_a_replaced_orchestrator_is_told_so_and_the_new_one_goes_on(inventory: Inventory) -> None:
    await inventory.reserve(1, "r-1")
    await inventory.reserve(2, "r-2")

    for name in ("r-1", "r-2", "r-3"):
        with pytest.raises(StaleEpoch):
            await inventory.reserve(1, name)
    await inventory.reserve(2, "r-1")
    await inventory.stub.ReserveStock(reservation("by-hand"))

    assert (await inventory.stub.GetStock(pb.GetStockRequest(sku="MUG"))).item.available == 6


async def test_a_call_says_who_makes_it_for_which_saga_and_under_which_key(inventory: Inventory) -> None:
    await inventory.reserve(3, "r-1")

    told = {name: value for name, value in inventory.headers.items() if name.startswith(("ensemble-", "idempotency-"))}
    assert told == {
        "ensemble-saga-id": SAGA,
        "ensemble-step": "reserve_stock",
        "ensemble-attempt": "1",
        "ensemble-epoch": "3",
        "idempotency-key": "r-1",
    }


async def test_a_stale_call_is_aborted_on_the_wire_which_is_no_answer_for_anybody_else(inventory: Inventory) -> None:
    await inventory.reserve(2, "r-1")

    error = await error_of(inventory, {fence.SAGA_ID: SAGA, fence.EPOCH: "1"})

    info = error_info(error)
    assert (error.code(), info.reason) == (grpc.StatusCode.ABORTED, "STALE_EPOCH")
    assert dict(info.metadata) == {"saga_id": SAGA, "epoch": "1", "newest_epoch": "2"}
    assert isinstance(from_error(error), Outage)


@pytest.mark.parametrize(
    ("headers", "wrong"),
    [
        ({fence.SAGA_ID: "order-1", fence.EPOCH: "1"}, fence.SAGA_ID),
        ({fence.SAGA_ID: "", fence.EPOCH: "1"}, fence.SAGA_ID),
        ({fence.EPOCH: "1"}, fence.SAGA_ID),
        ({fence.SAGA_ID: SAGA}, fence.EPOCH),
        *(({fence.SAGA_ID: SAGA, fence.EPOCH: epoch}, fence.EPOCH) for epoch in ("", "0", "-1", "1.5", "1_0", "one")),
        ({fence.SAGA_ID: SAGA, fence.EPOCH: str(2**63)}, fence.EPOCH),
    ],
)
async def test_a_malformed_fence_is_a_bad_request(inventory: Inventory, headers: dict[str, str], wrong: str) -> None:
    error = await error_of(inventory, headers)

    assert (error.code(), error_info(error).reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert str(error.details()).startswith(f"{wrong} is ")


async def test_the_last_epoch_there_can_be_is_served(inventory: Inventory) -> None:
    await inventory.reserve(fence.LAST_EPOCH, "r-1")

    assert await inventory.database.pool.fetchval("SELECT epoch FROM fence") == 2**63 - 1


async def error_of(inventory: Inventory, headers: dict[str, str]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await inventory.stub.ReserveStock(reservation("r-9"), metadata=tuple(headers.items()))
    return error.value
