"""The front door's RPC door: accept, hand over, follow."""

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any

import grpc
import structlog
from shop.customer.v1 import customer_service_pb2 as pb
from shop.customer.v1 import customer_service_pb2_grpc
from shop.orders.v1.order_pb2 import ORDER_STATE_PENDING

from mesh.errors import Outage, Refusal
from mesh.identity import new_id
from mesh.postgres.database import Database, Transaction
from mesh.telemetry import tracing
from services.customer import core, store
from services.customer.core import Fulfilment, Mode, Placed

log: structlog.stdlib.BoundLogger = structlog.get_logger("services.customer")

SERVICE = pb.DESCRIPTOR.services_by_name["CustomerService"]

Context = grpc.aio.ServicerContext[Any, Any]


class CustomerServicer(customer_service_pb2_grpc.CustomerServiceServicer):
    """Answers `shop.customer.v1.CustomerService`."""

    def __init__(self, database: Database, modes: Mapping[Mode, Fulfilment[pb.Order]]) -> None:
        self._database = database
        self._modes = modes

    async def PlaceOrder(self, request: pb.PlaceOrderRequest, context: Context) -> pb.PlaceOrderResponse:
        mode = Mode(pb.Mode.Name(request.mode).removeprefix("MODE_"))
        order_id = new_id()
        with tracing.story(order__id=order_id, shop__mode=mode.value.lower()):
            purchase = request.purchase.SerializeToString()
            placed = Placed(order_id, mode, purchase, tracing.inject(), datetime.now(UTC))

            async def work(tx: Transaction) -> pb.PlaceOrderResponse:
                await store.insert(tx.connection, placed)
                return pb.PlaceOrderResponse(order=_accepted(placed, request))

            response = await self._database.once(request, pb.PlaceOrderResponse, work)
            if response.order.order_id == order_id:  # a repeat was handed over before, or soon will be
                tracing.mark(order__id=order_id, shop__mode=mode.value.lower())
                await self._hand_over(placed)
        _log_about(response.order.order_id, mode)
        return response

    async def CancelOrder(self, request: pb.CancelOrderRequest, context: Context) -> pb.CancelOrderResponse:
        answered = await self._database.answered(request, pb.CancelOrderResponse)
        if answered is not None:
            return answered
        placed = await self._placed(request.order_id)
        outcome = await self._cancelled(placed, request.request_id)

        async def work(_tx: Transaction) -> pb.CancelOrderResponse:
            if isinstance(outcome, Refusal):
                raise outcome
            return pb.CancelOrderResponse(order=outcome)

        return await self._database.once(request, pb.CancelOrderResponse, work)

    async def GetOrder(self, request: pb.GetOrderRequest, context: Context) -> pb.GetOrderResponse:
        placed = await self._placed(request.order_id)
        return pb.GetOrderResponse(order=await self._modes[placed.mode].look(placed))

    async def WatchOrder(
        self, request: pb.WatchOrderRequest, context: Context
    ) -> AsyncGenerator[pb.WatchOrderResponse]:
        placed = await self._placed(request.order_id)
        async for order in self._modes[placed.mode].follow(placed):
            yield pb.WatchOrderResponse(order=order)

    async def hand_over_waiting(self) -> None:
        """Finish what a front door that died, or found nobody to hand over to, has begun."""
        async with self._database.connection() as connection:
            waiting = await store.waiting(connection)
        for placed in waiting:
            with tracing.continued(placed.trace, "hand over again"):
                await self._hand_over(placed)

    async def _hand_over(self, placed: Placed) -> None:
        """Try to; if it fails, the sweeper tries again: the customer has our promise already."""
        try:
            await self._modes[placed.mode].hand_over(placed)
            async with self._database.connection() as connection:
                await store.handed_over(connection, placed.order_id)
        except (Outage, Refusal) as error:
            log.warning("hand_over_waits", order__id=placed.order_id, error=str(error))

    async def _cancelled(self, placed: Placed, request_id: str) -> pb.Order | Refusal:
        fulfilment = self._modes[placed.mode]
        try:
            with tracing.continued(placed.trace, "cancel"):
                await fulfilment.hand_over(placed)  # a cancel must not overtake its order
                await fulfilment.cancel(placed, request_id)
        except Refusal as refusal:
            return refusal
        return await fulfilment.look(placed)

    async def _placed(self, order_id: str) -> Placed:
        async with self._database.connection() as connection:
            placed = await store.select(connection, order_id)
        if placed is None:
            raise core.unknown_order(order_id)
        _log_about(order_id, placed.mode)
        return placed


def _log_about(order_id: str, mode: Mode) -> None:
    """Have the lines of the call say which order they are about."""
    structlog.contextvars.bind_contextvars(order__id=order_id, shop__mode=mode.value.lower())


def _accepted(placed: Placed, request: pb.PlaceOrderRequest) -> pb.Order:
    order = pb.Order(
        order_id=placed.order_id, mode=request.mode, state=ORDER_STATE_PENDING, items=request.purchase.items
    )
    order.placed_at.FromDatetime(placed.placed_at)
    return order
