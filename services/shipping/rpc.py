"""Shipping's RPC door: a request becomes calls of core, their outcome the response."""

from typing import Any

import grpc
from shop.shipping.v1 import shipment_pb2, shipping_service_pb2_grpc
from shop.shipping.v1 import shipping_service_pb2 as pb

from mesh.errors import not_found
from mesh.postgres.database import Database, Transaction
from services.shipping import core, store
from services.shipping.core import Carrier, Line, Parcel, Shipment, State

SERVICE = pb.DESCRIPTOR.services_by_name["ShippingService"]

Context = grpc.aio.ServicerContext[Any, Any]


class ShippingServicer(shipping_service_pb2_grpc.ShippingServiceServicer):
    """Answers `shop.shipping.v1.ShippingService`."""

    def __init__(self, database: Database, carrier: Carrier) -> None:
        self._database = database
        self._carrier = carrier

    async def CreateShipment(self, request: pb.CreateShipmentRequest, context: Context) -> pb.CreateShipmentResponse:
        if (answer := await self._database.answered(request, pb.CreateShipmentResponse)) is not None:
            return answer
        lines = tuple(Line(item.sku, item.quantity) for item in request.items)
        parcel = Parcel(lines, request.ship_to.postcode, request.ship_to.country)
        wanted = Shipment(request.shipment_id, request.order_id, State.BOOKING, parcel)
        async with self._database.connection() as connection:  # one statement, which is a transaction of its own
            begun = await core.begin_booking(store.PostgresShipments(connection), wanted)
        verdict = await core.ask(self._carrier, begun)

        async def work(tx: Transaction) -> pb.CreateShipmentResponse:
            # A refused shipment is stored as such and refused: the refusal commits what was written before it.
            shipment = await core.settle_booking(store.PostgresShipments(tx.connection), wanted, verdict)
            return pb.CreateShipmentResponse(shipment=_shipment(shipment))

        return await self._database.once(request, pb.CreateShipmentResponse, work)

    async def CancelShipment(self, request: pb.CancelShipmentRequest, context: Context) -> pb.CancelShipmentResponse:
        if (answer := await self._database.answered(request, pb.CancelShipmentResponse)) is not None:
            return answer
        async with self._database.transaction() as connection:
            shipments = store.PostgresShipments(connection)
            begun = await core.begin_cancel(shipments, request.shipment_id, request.order_id)
        verdict = await core.ask(self._carrier, begun)

        async def work(tx: Transaction) -> pb.CancelShipmentResponse:
            # The carrier may say that it is shipped: the refusal commits that.
            shipments = store.PostgresShipments(tx.connection)
            shipment = await core.settle_cancel(shipments, request.shipment_id, request.order_id, verdict)
            return pb.CancelShipmentResponse(shipment=_shipment(shipment))

        return await self._database.once(request, pb.CancelShipmentResponse, work)

    async def GetShipment(self, request: pb.GetShipmentRequest, context: Context) -> pb.GetShipmentResponse:
        async with self._database.connection() as connection:
            shipment = await store.shipment(connection, request.shipment_id)
        if shipment is None:
            message = f"there is no shipment {request.shipment_id}"
            raise not_found("SHIPMENT_NOT_FOUND", message, shipment_id=request.shipment_id)
        return pb.GetShipmentResponse(shipment=_shipment(shipment))


def _shipment(shipment: Shipment) -> shipment_pb2.Shipment:
    return shipment_pb2.Shipment(
        shipment_id=shipment.shipment_id,
        order_id=shipment.order_id,
        state=shipment_pb2.ShipmentState.Value(f"SHIPMENT_STATE_{shipment.state.value}"),
        tracking=shipment.tracking,
    )
