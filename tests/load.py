"""Customers who go on ordering, whatever breaks."""

import asyncio
from itertools import count

from shop.customer.v1 import customer_service_pb2 as pb

from cli.client import answered
from cli.load import Load
from tests.eventually import eventually
from tests.shop import Shop


class Customers:
    """So many of them, each placing one order after the other until they are stopped."""

    def __init__(self, shop: Shop, wanted: Load, number: int) -> None:
        self._shop = shop
        self._wanted = wanted
        self._number = number
        self._orders = count()
        self._enough = asyncio.Event()
        self.orders: list[pb.Order] = []
        """Those that are final."""

    async def run(self) -> None:
        """Returns once everybody has stopped and every order is final."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._number):
                group.create_task(self._customer())

    def stop(self) -> None:
        self._enough.set()

    async def grown(self, by: int) -> None:
        """Wait until so many more orders are final."""
        target = len(self.orders) + by
        await eventually(lambda: len(self.orders) >= target)

    async def _customer(self) -> None:
        while not self._enough.is_set():
            request = self._wanted.request(next(self._orders))
            placed = await answered(lambda: self._shop.customers.PlaceOrder(request))  # noqa: B023
            self.orders.append(await answered(lambda: self._shop.outcome(placed.order)))  # noqa: B023
