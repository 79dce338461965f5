"""The books: what the gateway, the shelves and the mailbox say, held against the orders that were completed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.orders.v1.order_pb2 import ORDER_STATE_COMPLETED, Order
from shop.orders.v1.orders_service_pb2 import ListOrdersRequest
from shop.orders.v1.orders_service_pb2_grpc import OrderServiceStub

from cli.client import Where, connected
from cli.running import UNAVAILABLE, CommandError
from cli.stack.layout import INVENTORY, ORDERS
from cli.stack.state import State
from cli.stock import every_item

PAGE = 1000
SETTLE_SECONDS = 10
"""A confirmation may be mailed after its order is completed; the books are given so long to balance."""
LOOK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class Books:
    """What each bookkeeper says at one moment. Money is in minor units, by currency."""

    completed: int
    completed_money: Mapping[str, int]
    completed_items: Mapping[str, int]
    """How many of each SKU the completed orders hold."""
    charges: int
    """Charges in the gateway's own ledger that were not refunded."""
    charged_money: Mapping[str, int]
    confirmations: int
    """Distinct Message-IDs: the mail server cannot dedupe, so one mail may lie there twice."""
    stock: Mapping[str, int]
    """What is available of each SKU."""


@dataclass(frozen=True)
class Line:
    """One comparison: what the completed orders demand, and what the other book says."""

    what: str
    expected: int
    found: int

    @property
    def balances(self) -> bool:
        return self.expected == self.found


def balance(before: Books, after: Books) -> list[Line]:
    """Compare what changed between two moments at which no order was under way."""
    orders = after.completed - before.completed
    money = _change(before.completed_money, after.completed_money)
    charged = _change(before.charged_money, after.charged_money)
    items = _change(before.completed_items, after.completed_items)
    taken = _change(after.stock, before.stock)
    return [
        Line("charges for completed orders", orders, after.charges - before.charges),
        *_lines("{} charged, in minor units", money, charged),
        *_lines("{} taken from stock", items, taken),
        Line("confirmations mailed", orders, after.confirmations - before.confirmations),
    ]


def _lines(what: str, expected: Mapping[str, int], found: Mapping[str, int]) -> list[Line]:
    """One for each key; those of which there is nothing on either side are left out."""
    keys = sorted({**expected, **found})
    lines = [Line(what.format(key), expected.get(key, 0), found.get(key, 0)) for key in keys]
    return [line for line in lines if line.expected or line.found]


def _change(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {key: after.get(key, 0) - before.get(key, 0) for key in {**before, **after}}


async def settled(before: Books, read: Callable[[], Awaitable[Books]]) -> list[Line]:
    """The lines once all of them balance; those that there are after `SETTLE_SECONDS` otherwise."""
    clock = asyncio.get_running_loop().time
    end = clock() + SETTLE_SECONDS
    while True:
        lines = balance(before, await read())
        if all(line.balances for line in lines) or clock() > end:
            return lines
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def read(stack: State) -> Books:
    """Read all books of a running stack. Raises CommandError when one of them cannot be read."""
    ledger = await _ledger_summary(stack.sandbox_url)
    orders = await _completed_orders(stack)
    async with connected(Where(address=stack.services[INVENTORY]), INVENTORY) as channel:
        items = await every_item(InventoryServiceStub(channel))
    return Books(
        completed=len(orders),
        completed_money=_sum((order.total.currency, order.total.amount_minor) for order in orders),
        completed_items=_sum((item.sku, item.quantity) for order in orders for item in order.items),
        charges=ledger["counts"]["payments"]["charged"],
        charged_money=ledger["totals"]["charged"],
        confirmations=ledger["counts"]["mails"]["distinct_message_ids"],
        stock={item.sku: item.available for item in items},
    )


async def _ledger_summary(sandbox_url: str) -> dict[str, Any]:
    url = f"{sandbox_url}/ledger/summary"
    try:
        async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(url) as response:
            return await response.json()
    except aiohttp.ClientError as error:
        raise CommandError(f"the ledger cannot be read at {url}: {error}", UNAVAILABLE) from error


async def _completed_orders(stack: State) -> list[Order]:
    completed: list[Order] = []
    request = ListOrdersRequest(state=ORDER_STATE_COMPLETED, page_size=PAGE)
    async with connected(Where(address=stack.services[ORDERS]), ORDERS) as channel:
        orders = OrderServiceStub(channel)
        while True:
            page = await orders.ListOrders(request)
            completed.extend(page.orders)
            if not page.next_page_token:
                return completed
            request.page_token = page.next_page_token


def _sum(amounts: Iterable[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for key, amount in amounts:
        total[key] += amount
    return total
