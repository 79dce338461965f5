"""`ensemble stock`: the catalogue, and how much of it is left; `ensemble stock deliver` fills the shelves."""

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from shop.inventory.v1.inventory_service_pb2 import GetStockRequest, ListStockRequest
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.inventory.v1.stock_pb2 import StockItem
from typer.core import TyperGroup

from cli.client import DEFAULT_DATA, Address, Data, Json, Where, answered, connected
from cli.output import console, money, print_json, print_json_line, table
from cli.running import EXIT_CODES, UNAVAILABLE, CommandError, run
from cli.stack import catalogue
from cli.stack.layout import INVENTORY

PAGE = 1000
PATIENCE = 60.0
"""Seconds that a service may take to start before what is delivered to it goes back."""


class _ShowsByDefault(TyperGroup):
    """What begins with no command of its own is `show`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["show", *args])


app = typer.Typer(
    cls=_ShowsByDefault,
    epilog=EXIT_CODES,
    help="Look at the catalogue, or put it into stock. `ensemble stock [SKU]` is `ensemble stock show [SKU]`.",
)


@app.command(epilog=EXIT_CODES)
def show(
    sku: Annotated[str, typer.Argument(help="Only this item.")] = "",
    data: Data = DEFAULT_DATA,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Show the catalogue with prices and what is available."""
    run(_show(Where(data, address), sku, as_json))


@app.command(epilog=EXIT_CODES)
def deliver(data: Data = DEFAULT_DATA, address: Address = None) -> None:
    """Put the catalogue into stock; once, however often it is called. Waits for the service to start."""
    run(_deliver(Where(data, address)))


async def _show(where: Where, sku: str, as_json: bool) -> None:
    async with connected(where, INVENTORY) as channel:
        inventory = InventoryServiceStub(channel)
        items = [(await inventory.GetStock(GetStockRequest(sku=sku))).item] if sku else await every_item(inventory)
    if as_json:
        for item in items:
            (print_json if sku else print_json_line)(item)
    else:
        _print(items)


async def _deliver(where: Where) -> None:
    async with connected(where, INVENTORY, PATIENCE) as channel:
        inventory = InventoryServiceStub(channel)
        try:
            await asyncio.wait_for(answered(lambda: catalogue.deliver(inventory)), PATIENCE)
        except TimeoutError:
            raise CommandError(f"{INVENTORY} took no delivery within {PATIENCE:.0f} s", UNAVAILABLE) from None
    console.print(f"{len(catalogue.ARTICLES)} articles: in stock")


async def every_item(inventory: InventoryServiceStub) -> list[StockItem]:
    """The whole catalogue, page by page. Raises AioRpcError."""
    items: list[StockItem] = []
    token = ""
    while True:
        page = await inventory.ListStock(ListStockRequest(page_size=PAGE, page_token=token))
        items.extend(page.items)
        token = page.next_page_token
        if not token:
            return items


def _print(items: Iterable[StockItem]) -> None:
    shown = table("sku", "name", "price>", "available>")
    for item in items:
        shown.add_row(item.sku, item.name, money(item.price), f"{item.available:,}")
    console.print(shown)
