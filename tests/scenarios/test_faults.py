"""Every process is killed with -9 while orders are under way: nothing is lost, nothing happens twice."""

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

import grpc
import pytest
from shop.customer.v1 import customer_service_pb2 as pb
from shop.orders.v1.order_pb2 import ORDER_STATE_COMPLETED

from cli.books import settled
from tests import shop as shop_
from tests.eventually import eventually
from tests.shop import Shop, state_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

T = TypeVar("T")

STOCK = 9_000
WORKERS = 16
FOUNDATIONS = ("postgres", "nats", "sandbox")
SERVICES = ("orders", "inventory", "payment", "shipping", "notification", "orchestrator", "customer")


@pytest.fixture
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Shop]:
    """A shop of its own: its processes will die."""
    async with shop_.opened(tmp_path_factory.mktemp("faults")) as shop:
        yield shop


async def persistent(call: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer, as a careful client does. An answer that says no is raised."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT):
                raise
            await asyncio.sleep(0.1)


class Load:
    """Customers who order in both modes, one after the other, until they are stopped."""

    def __init__(self, shop: Shop, sku: str) -> None:
        self._shop = shop
        self._sku = sku
        self._numbers = iter(range(1_000_000))
        self._enough = asyncio.Event()
        self.orders: list[pb.Order] = []

    async def run(self) -> None:
        """Returns once everybody has stopped and every order is final."""
        await asyncio.gather(*(self._customer() for _ in range(WORKERS)))

    def stop(self) -> None:
        self._enough.set()

    async def grown(self, by: int) -> None:
        """Wait until so many more orders are final."""
        target = len(self.orders) + by
        await eventually(lambda: len(self.orders) >= target)

    async def _customer(self) -> None:
        while not self._enough.is_set():
            number = next(self._numbers)
            mode = pb.MODE_ORCHESTRATED if number % 2 else pb.MODE_CHOREOGRAPHED
            token = "tok_declined" if number % 10 < 2 else "tok_visa"
            quantity = STOCK + 1 if number % 10 in (4, 5) else 1
            request_id = uuid.uuid4().hex
            placed = await persistent(
                lambda: self._shop.place(mode, request_id, sku=self._sku, token=token, quantity=quantity)  # noqa: B023
            )
            self.orders.append(await persistent(lambda: self._shop.outcome(placed)))  # noqa: B023


def pid_of(shop: Shop, name: str) -> int | None:
    return next((process.pid for process in shop.stack.state.processes if process.name == name), None)


async def end(shop: Shop, name: str, number: signal.Signals) -> None:
    """End a process and wait until it is back."""
    victim = pid_of(shop, name)
    assert victim is not None
    os.kill(victim, number)
    await eventually(lambda: pid_of(shop, name) not in (None, victim))


@pytest.mark.parametrize(
    ("number", "victims"),
    [(signal.SIGKILL, FOUNDATIONS + SERVICES), (signal.SIGTERM, SERVICES)],
    ids=["killed", "drained"],
)
async def test_every_process_is_ended_in_turn_and_nothing_is_lost_or_done_twice(
    shop: Shop, number: signal.Signals, victims: tuple[str, ...]
) -> None:
    sku = await shop.stocked(STOCK)
    before = await shop.books()
    load = Load(shop, sku)
    running = asyncio.ensure_future(load.run())
    await load.grown(20)
    for victim in victims:
        await end(shop, victim, number)
        await load.grown(20)
    load.stop()
    await running

    completed = [order for order in load.orders if order.state == ORDER_STATE_COMPLETED]
    assert await shop.available(sku) == STOCK - len(completed)
    assert {state_of(order) for order in load.orders} <= {
        ("COMPLETED", "UNSPECIFIED"),
        ("CANCELLED", "PAYMENT_DECLINED"),
        ("CANCELLED", "OUT_OF_STOCK"),
        ("CANCELLED", "TIMED_OUT"),
    }
    unbalanced = [line for line in await settled(before, shop.books) if not line.balances]
    assert unbalanced == []
