"""The two ways, side by side: how the front door hands an order over, takes it back, and follows it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

import grpc
from ensemble.orchestrator.v1 import orchestrator_service_pb2 as sagas
from ensemble.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceStub
from ensemble.orchestrator.v1.saga_pb2 import Saga, SagaEntry, SagaEntryKind, SagaState
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED, Order
from shop.orders.v1 import order_pb2
from shop.orders.v1 import orders_service_pb2 as orders
from shop.orders.v1.orders_service_pb2_grpc import OrderServiceStub
from shop.type.v1.purchase_pb2 import Purchase
from shop.workflow.v1.place_order_pb2 import PlaceOrder

from mesh.errors import Kind, Outage, Refusal, refused
from mesh.rpc.channel import Peers
from mesh.rpc.status import from_error
from services.customer.core import Placed

T = TypeVar("T")

AGAIN = 0.2
"""Seconds before a broken stream, or an order that is not handed over yet, is looked at again."""
FINAL = (order_pb2.ORDER_STATE_COMPLETED, order_pb2.ORDER_STATE_CANCELLED)


class Orchestrated:
    """A saga fulfils the order; its log is the order's timeline."""

    def __init__(self, peers: Peers) -> None:
        self._sagas = OrchestratorServiceStub(peers.channel("ensemble.orchestrator.v1.OrchestratorService"))
        self._orders = OrderServiceStub(peers.channel("shop.orders.v1.OrderService"))

    async def hand_over(self, placed: Placed) -> None:
        request = sagas.StartSagaRequest(
            request_id=f"{placed.order_id}/place", saga_id=placed.order_id, workflow="place_order"
        )
        request.input.Pack(PlaceOrder(order_id=placed.order_id, purchase=Purchase.FromString(placed.purchase)))
        await _answer(self._sagas.StartSaga(request))

    async def cancel(self, placed: Placed, request_id: str) -> None:
        request = sagas.CancelSagaRequest(request_id=request_id, saga_id=placed.order_id, reason="CUSTOMER_REQUEST")
        try:
            await _answer(self._sagas.CancelSaga(request))
        except Refusal as refusal:
            if refusal.reason != "SAGA_SUCCEEDED":
                raise
            message = f"order {placed.order_id} is completed"
            raise refused("ORDER_COMPLETED", message, order_id=placed.order_id) from refusal

    async def look(self, placed: Placed) -> Order:
        saga = await _found(self._sagas.GetSaga(sagas.GetSagaRequest(saga_id=placed.order_id)))
        return await self._order(placed, saga.saga if saga else None)

    async def follow(self, placed: Placed) -> AsyncGenerator[Order]:
        while True:
            try:
                async for change in self._sagas.WatchSaga(sagas.WatchSagaRequest(saga_id=placed.order_id)):
                    order = await self._order(placed, change.saga)
                    yield order
                    if order.state in FINAL:
                        return
            except grpc.aio.AioRpcError as error:
                _raise_unless_passing(error)
            await asyncio.sleep(AGAIN)

    async def _order(self, placed: Placed, saga: Saga | None) -> Order:
        order = _accepted(placed)
        if saga is None:
            return order
        order.timeline.extend(_from_log(entry) for entry in saga.entries if entry.kind in _EVENTS)
        if saga.state in (SagaState.SAGA_STATE_SUCCEEDED, SagaState.SAGA_STATE_UNWOUND):
            kept = await _found(self._orders.GetOrder(orders.GetOrderRequest(order_id=placed.order_id)))
            order.state = order_pb2.ORDER_STATE_CANCELLED  # where the Order service refused to create it
            if kept is not None:
                _take_over(order, kept.order)
        elif saga.state in (SagaState.SAGA_STATE_UNWINDING, SagaState.SAGA_STATE_STUCK):
            order.state = order_pb2.ORDER_STATE_CANCELLING
        return order


class Choreographed:
    """The services react to each other's facts; the Order service learns of them and keeps the timeline."""

    def __init__(self, peers: Peers) -> None:
        self._orders = OrderServiceStub(peers.channel("shop.orders.v1.OrderService"))

    async def hand_over(self, placed: Placed) -> None:
        purchase = Purchase.FromString(placed.purchase)
        request = orders.SubmitOrderRequest(
            request_id=f"{placed.order_id}/place", order_id=placed.order_id, purchase=purchase
        )
        await _answer(self._orders.SubmitOrder(request))

    async def cancel(self, placed: Placed, request_id: str) -> None:
        request = orders.RequestCancelRequest(request_id=request_id, order_id=placed.order_id)
        await _answer(self._orders.RequestCancel(request))

    async def look(self, placed: Placed) -> Order:
        kept = await _found(self._orders.GetOrder(orders.GetOrderRequest(order_id=placed.order_id)))
        return self._order(placed, kept.order if kept else None)

    async def follow(self, placed: Placed) -> AsyncGenerator[Order]:
        while True:
            try:
                async for change in self._orders.WatchOrder(orders.WatchOrderRequest(order_id=placed.order_id)):
                    order = self._order(placed, change.order)
                    yield order
                    if order.state in FINAL:
                        return
            except grpc.aio.AioRpcError as error:
                _raise_unless_passing(error)
            await asyncio.sleep(AGAIN)

    def _order(self, placed: Placed, kept: order_pb2.Order | None) -> Order:
        order = _accepted(placed)
        if kept is not None:
            _take_over(order, kept)
            order.timeline.extend(kept.timeline)
        return order


def _accepted(placed: Placed) -> Order:
    """The order as it is before anybody else has heard of it."""
    order = Order(
        order_id=placed.order_id,
        mode={"ORCHESTRATED": MODE_ORCHESTRATED, "CHOREOGRAPHED": MODE_CHOREOGRAPHED}[placed.mode.value],
        state=order_pb2.ORDER_STATE_PENDING,
        items=Purchase.FromString(placed.purchase).items,
    )
    order.placed_at.FromDatetime(placed.placed_at)
    return order


def _take_over(order: Order, kept: order_pb2.Order) -> None:
    order.state = kept.state
    order.cancel_reason = kept.cancel_reason
    order.tracking = kept.tracking
    if kept.HasField("total"):
        order.total.CopyFrom(kept.total)


_EVENTS = {
    SagaEntryKind.SAGA_ENTRY_KIND_STARTED: "saga started",
    SagaEntryKind.SAGA_ENTRY_KIND_STEP_SUCCEEDED: "{path} done",
    SagaEntryKind.SAGA_ENTRY_KIND_STEP_REFUSED: "{path} refused",
    SagaEntryKind.SAGA_ENTRY_KIND_STEP_UNKNOWN: "{path} unanswered",
    SagaEntryKind.SAGA_ENTRY_KIND_CANCELLED: "cancel heeded",
    SagaEntryKind.SAGA_ENTRY_KIND_UNDO_SUCCEEDED: "{path} undone",
    SagaEntryKind.SAGA_ENTRY_KIND_PIVOT_HELD: "{path} has happened: no way back",
    SagaEntryKind.SAGA_ENTRY_KIND_UNDO_STUCK: "{path} cannot be undone yet",
    SagaEntryKind.SAGA_ENTRY_KIND_ENDED: "saga ended",
}
"""What a customer is told of a saga's log: outcomes, not intents."""


def _from_log(entry: SagaEntry) -> order_pb2.TimelineEntry:
    return order_pb2.TimelineEntry(
        at=entry.at,
        source="orchestrator",
        event=_EVENTS[entry.kind].format(path=entry.path),
        detail=f"{entry.reason}: {entry.message}" if entry.message else entry.reason,
    )


async def _answer(call: Awaitable[T]) -> T:
    """The peer's answer. Raises its Refusal as it is, or Outage."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_error(error) from error


async def _found(call: Awaitable[T]) -> T | None:
    """The same, with None for NOT_FOUND: the order is on its way."""
    try:
        return await _answer(call)
    except Refusal as refusal:
        if refusal.kind is not Kind.NOT_FOUND:
            raise
        return None


def _raise_unless_passing(error: grpc.aio.AioRpcError) -> None:
    """A broken stream is opened again, and an order that is not there yet is waited for."""
    meaning = from_error(error)
    if not isinstance(meaning, Outage) and meaning.kind is not Kind.NOT_FOUND:
        raise meaning from error
