"""Inventory's RPC door: a request becomes one call of core, its outcome the response."""

from typing import Any

import grpc
from shop.inventory.v1 import inventory_service_pb2 as pb
from shop.inventory.v1 import inventory_service_pb2_grpc, stock_pb2
from shop.type.v1 import money_pb2, purchase_pb2

from mesh.errors import not_found
from mesh.postgres.database import Database, Transaction
from mesh.rpc.paging import page_of
from services.inventory import core, store
from services.inventory.core import Line, Reservation, StockItem

SERVICE = pb.DESCRIPTOR.services_by_name["InventoryService"]

Context = grpc.aio.ServicerContext[Any, Any]


class InventoryServicer(inventory_service_pb2_grpc.InventoryServiceServicer):
    """Answers `shop.inventory.v1.InventoryService`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ReserveStock(self, request: pb.ReserveStockRequest, context: Context) -> pb.ReserveStockResponse:
        async def work(tx: Transaction) -> pb.ReserveStockResponse:
            shelf = store.PostgresShelf(tx.connection)
            lines = [Line(item.sku, item.quantity) for item in request.items]
            reservation = await core.reserve_stock(shelf, request.reservation_id, request.order_id, lines)
            return pb.ReserveStockResponse(reservation=_reservation(reservation))

        return await self._database.once(request, pb.ReserveStockResponse, work)

    async def ReleaseStock(self, request: pb.ReleaseStockRequest, context: Context) -> pb.ReleaseStockResponse:
        async def work(tx: Transaction) -> pb.ReleaseStockResponse:
            shelf = store.PostgresShelf(tx.connection)
            reservation = await core.release_stock(shelf, request.reservation_id, request.order_id)
            return pb.ReleaseStockResponse(reservation=_reservation(reservation))

        return await self._database.once(request, pb.ReleaseStockResponse, work)

    async def AdjustStock(self, request: pb.AdjustStockRequest, context: Context) -> pb.AdjustStockResponse:
        async def work(tx: Transaction) -> pb.AdjustStockResponse:
            shelf = store.PostgresShelf(tx.connection)
            price = (request.price.currency, request.price.amount_minor) if request.HasField("price") else None
            item = await core.adjust_stock(shelf, request.sku, request.delta, request.name, price)
            return pb.AdjustStockResponse(item=_item(item))

        return await self._database.once(request, pb.AdjustStockResponse, work)

    async def GetStock(self, request: pb.GetStockRequest, context: Context) -> pb.GetStockResponse:
        async with self._database.connection() as connection:
            item = await store.item(connection, request.sku)
        if item is None:
            raise not_found("UNKNOWN_SKU", f"there is no item {request.sku}", sku=request.sku)
        return pb.GetStockResponse(item=_item(item))

    async def ListStock(self, request: pb.ListStockRequest, context: Context) -> pb.ListStockResponse:
        page = page_of(request)
        async with self._database.connection() as connection:
            items = await store.page(connection, page.after, page.size)
        return pb.ListStockResponse(
            items=[_item(item) for item in items], next_page_token=page.next_token([item.sku for item in items])
        )


def _reservation(reservation: Reservation) -> stock_pb2.Reservation:
    return stock_pb2.Reservation(
        reservation_id=reservation.reservation_id,
        order_id=reservation.order_id,
        state=stock_pb2.ReservationState.Value(f"RESERVATION_STATE_{reservation.state.value}"),
        items=[purchase_pb2.Item(sku=line.sku, quantity=line.quantity) for line in reservation.lines],
        total=money_pb2.Money(currency=reservation.currency, amount_minor=reservation.total_minor),
    )


def _item(item: StockItem) -> stock_pb2.StockItem:
    price = money_pb2.Money(currency=item.currency, amount_minor=item.price_minor)
    return stock_pb2.StockItem(sku=item.sku, name=item.name, price=price, available=item.available)
