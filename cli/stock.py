"""`ensemble stock`: the catalogue, and how much of it is left."""

from collections.abc import Iterable
from typing import Annotated

import typer
from shop.inventory.v1.inventory_service_pb2 import GetStockRequest, ListStockRequest
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.inventory.v1.stock_pb2 import StockItem

from cli.client import DEFAULT_DATA, Address, Data, Json, Where, connected
from cli.output import console, money, print_json, print_json_line, table
from cli.running import run
from cli.stack.layout import INVENTORY

PAGE = 1000


def stock(
    sku: Annotated[str, typer.Argument(help="Only this item.")] = "",
    data: Data = DEFAULT_DATA,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Show the catalogue with prices and what is available."""
    run(_show(Where(data, address), sku, as_json))


async def _show(where: Where, sku: str, as_json: bool) -> None:
    async with connected(where, INVENTORY) as channel:
        inventory = InventoryServiceStub(channel)
        items = [(await inventory.GetStock(GetStockRequest(sku=sku))).item] if sku else await every_item(inventory)
    if as_json:
        for item in items:
            (print_json if sku else print_json_line)(item)
    else:
        _print(items)


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
