"""A running shop, as a customer meets it: the whole of `ensemble up`, or one that runs elsewhere."""

import os
import signal
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from ensemble.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceStub
from shop.customer.v1 import customer_service_pb2 as pb
from shop.customer.v1.customer_service_pb2_grpc import CustomerServiceStub
from shop.inventory.v1.inventory_service_pb2 import AdjustStockRequest, GetStockRequest
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.orders.v1.order_pb2 import ORDER_STATE_CANCELLED, ORDER_STATE_COMPLETED, CancelReason, OrderState
from shop.orders.v1.orders_service_pb2_grpc import OrderServiceStub
from shop.type.v1.money_pb2 import Money

from cli import books
from cli.books import Books
from cli.stack import state
from cli.stack.catalogue import deliver
from cli.stack.layout import Layout, label
from cli.stack.local import Plan, Stack, running
from cli.stack.ports import free_port_base
from cli.stack.state import State
from cli.stack.traces import Choice, as_inherited
from mesh.rpc.channel import Peers, connected
from tests.eventually import eventually
from tests.purchases import purchase

FINAL = (ORDER_STATE_COMPLETED, ORDER_STATE_CANCELLED)


class Shop:
    """A shop that runs somewhere, and a client of it."""

    def __init__(self, data: Path, peers: Peers) -> None:
        self.data = data
        """The folder of its `ensemble.json`, as commands want it for `--data`."""
        self.customers = CustomerServiceStub(peers.channel("shop.customer.v1.CustomerService"))
        self.orders = OrderServiceStub(peers.channel("shop.orders.v1.OrderService"))
        self.inventory = InventoryServiceStub(peers.channel("shop.inventory.v1.InventoryService"))
        self.sagas = OrchestratorServiceStub(peers.channel("ensemble.orchestrator.v1.OrchestratorService"))

    @property
    def state(self) -> State:
        """What runs now, and where."""
        return state.read(self.data)

    async def stocked(self, quantity: int) -> str:
        """A new item of the catalogue, at 5 euros, so that no other test touches its stock."""
        sku = f"TEST-{uuid.uuid4().hex[:12].upper()}"
        price = Money(currency="EUR", amount_minor=500)
        await self.inventory.AdjustStock(
            AdjustStockRequest(request_id=sku, sku=sku, delta=quantity, name="Test", price=price)
        )
        return sku

    async def available(self, sku: str) -> int:
        return (await self.inventory.GetStock(GetStockRequest(sku=sku))).item.available

    async def place(self, mode: pb.Mode.ValueType, request_id: str | None = None, **wanted: Any) -> pb.Order:
        """Place an order; see `tests.purchases` for what can be wanted."""
        request = pb.PlaceOrderRequest(
            request_id=request_id or uuid.uuid4().hex, mode=mode, purchase=purchase(**wanted)
        )
        return (await self.customers.PlaceOrder(request)).order

    async def outcome(self, order: pb.Order) -> pb.Order:
        """Follow an order until it is final."""
        return await self.seen(order, lambda current: current.state in FINAL)

    async def seen(self, order: pb.Order, condition: Callable[[pb.Order], bool]) -> pb.Order:
        """Follow an order until it satisfies a condition. Raises AssertionError if it ends without."""
        watching = self.customers.WatchOrder(pb.WatchOrderRequest(order_id=order.order_id))
        try:
            async for change in watching:
                if condition(change.order):
                    return change.order
        finally:
            watching.cancel()
        raise AssertionError(f"order {order.order_id} ended without")

    async def cancel(self, order: pb.Order) -> pb.Order:
        request = pb.CancelOrderRequest(request_id=uuid.uuid4().hex, order_id=order.order_id)
        return (await self.customers.CancelOrder(request)).order

    async def ledger(self) -> dict[str, list[dict[str, Any]]]:
        """What the outside world has on its books."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.state.sandbox_url}/ledger") as answer:
            return await answer.json()

    @asynccontextmanager
    async def database(self, service: str) -> AsyncGenerator[asyncpg.Connection]:
        """That of a service, to look at behind its back."""
        connection = await asyncpg.connect(self.state.postgres[service])
        try:
            yield connection
        finally:
            connection.terminate()  # a goodbye is answered after a second where `kubectl port-forward` is between

    async def charge(self, order: pb.Order) -> str | None:
        """What the gateway says of an order's payment."""
        found = [each for each in (await self.ledger())["payments"] if order.order_id in each["key"]]
        assert len(found) <= 1, found
        return found[0]["state"] if found else None

    async def books(self) -> Books:
        return await books.read(self.state)


class OwnShop(Shop):
    """One that was started for a test, which may end its processes."""

    def __init__(self, stack: Stack, peers: Peers) -> None:
        super().__init__(stack.topology.data, peers)
        self.stack = stack

    async def end(self, name: str, number: signal.Signals) -> None:
        """End the process of that label, `payment` or `payment-1`, and wait until there is another."""
        victim = self._pid(name)
        assert victim is not None
        os.kill(victim, number)
        await eventually(lambda: self._pid(name) not in (None, victim))

    @asynccontextmanager
    async def without(self, name: str) -> AsyncGenerator[None]:
        """Stop a service, and start it again when this is left."""
        supervisor = self.stack._supervisor
        (child,) = (each for stage in supervisor._stages for each in stage if each.program.label == name and each.pid)
        await child.stop()
        try:
            yield
        finally:
            await supervisor.start([child.program])

    def _pid(self, name: str) -> int | None:
        processes = self.state.processes
        return next((process.pid for process in processes if label(process.name, process.replica) == name), None)


def state_of(order: pb.Order) -> tuple[str, str]:
    """State and reason, by name."""
    return (
        OrderState.Name(order.state).removeprefix("ORDER_STATE_"),
        CancelReason.Name(order.cancel_reason).removeprefix("CANCEL_REASON_"),
    )


def planned(data: Path, traces: Choice = as_inherited) -> Plan:
    """One of everything, below `data`, on free ports."""
    return Plan(data, Layout(free_port_base()), traces=traces)


@asynccontextmanager
async def opened(plan: Plan) -> AsyncGenerator[OwnShop]:
    """Run a stack, with a full catalogue, while open."""
    said: list[str] = []
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(running(plan, said.append))
        shop = OwnShop(started, await stack.enter_async_context(connected(started.state.services)))
        await deliver(shop.inventory)
        yield shop


@asynccontextmanager
async def found(data: Path) -> AsyncGenerator[Shop]:
    """The shop that runs already, as `ensemble.json` in `data` tells. Raises StackError when there is none."""
    async with connected(state.read(data).services) as peers:
        yield Shop(data, peers)


def given_or_opened(given: Path | None, plan: Plan) -> AbstractAsyncContextManager[Shop]:
    """The shop that was given by its folder; one of our own, if none was."""
    return found(given) if given else opened(plan)
