"""The Order service's RPC door."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import Any

import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from shop.orders.v1 import order_pb2, orders_facts_pb2, orders_service_pb2_grpc
from shop.orders.v1 import orders_service_pb2 as pb
from shop.type.v1 import money_pb2, purchase_pb2

from mesh import contract
from mesh.changes import Changes
from mesh.cloudevents import NoEvent
from mesh.errors import Kind, Refusal
from mesh.events import history
from mesh.events.bus import Bus
from mesh.events.history import Recorded
from mesh.postgres.database import Database, Transaction
from mesh.rpc.paging import page_of
from mesh.telemetry import tracing
from mesh.validation import UUID
from services.orders import core, store
from services.orders.core import Line, Order, Reason, Shipped, State
from services.orders.store import Entry, PostgresBook, Story

log: structlog.stdlib.BoundLogger = structlog.get_logger("orders")

SERVICE = pb.DESCRIPTOR.services_by_name["OrderService"]

FACTS = contract.fact(orders_facts_pb2.OrderCreated)
REBUILD_PAGE = 250
"""Facts that one call reads: few enough that other calls do not notice."""

Context = grpc.aio.ServicerContext[Any, Any]


class OrderServicer(orders_service_pb2_grpc.OrderServiceServicer):
    """Answers `shop.orders.v1.OrderService`."""

    def __init__(self, database: Database, bus: Bus, changes: Changes, fulfilment_seconds: float) -> None:
        self._database = database
        self._bus = bus
        self._changes = changes
        self._fulfilment_seconds = fulfilment_seconds

    async def SubmitOrder(self, request: pb.SubmitOrderRequest, context: Context) -> pb.SubmitOrderResponse:
        async def work(tx: Transaction) -> pb.SubmitOrderResponse:
            book = PostgresBook(tx.connection, self._fulfilment_seconds)
            wanted = _wanted(request.order_id, request.purchase, choreographed=True)
            order, is_new = await core.create_order(book, wanted)
            if is_new:
                fact = orders_facts_pb2.OrderCreated(order_id=request.order_id, purchase=request.purchase)
                book.record(store.entry(fact, tx.announce(fact)))
                await book.write()
            return pb.SubmitOrderResponse(order=_order(order))

        return await self._database.once(request, pb.SubmitOrderResponse, work)

    async def RequestCancel(self, request: pb.RequestCancelRequest, context: Context) -> pb.RequestCancelResponse:
        async def work(tx: Transaction) -> pb.RequestCancelResponse:
            order = await _ask_for_cancel(tx, request.order_id, Reason.CUSTOMER_REQUEST)
            return pb.RequestCancelResponse(order=_order(order))

        response = await self._database.once(request, pb.RequestCancelResponse, work)
        self._changes.changed(request.order_id)
        return response

    async def CreateOrder(self, request: pb.CreateOrderRequest, context: Context) -> pb.CreateOrderResponse:
        async def work(tx: Transaction) -> pb.CreateOrderResponse:
            book = PostgresBook(tx.connection)
            wanted = _wanted(request.order_id, request.purchase, choreographed=False)
            order, _ = await core.create_order(book, wanted)
            book.record(store.own("OrderCreated"))
            await book.write()
            return pb.CreateOrderResponse(order=_order(order))

        return await self._database.once(request, pb.CreateOrderResponse, work)

    async def CompleteOrder(self, request: pb.CompleteOrderRequest, context: Context) -> pb.CompleteOrderResponse:
        async def work(tx: Transaction) -> pb.CompleteOrderResponse:
            book = PostgresBook(tx.connection)
            shipped = Shipped(request.tracking, request.total.currency, request.total.amount_minor)
            order = await core.complete_order(book, request.order_id, shipped)
            book.record(store.own("OrderCompleted"))
            await book.write()
            tx.after_commit(book.count)
            return pb.CompleteOrderResponse(order=_order(order))

        response = await self._database.once(request, pb.CompleteOrderResponse, work)
        self._changes.changed(request.order_id)
        return response

    async def CancelOrder(self, request: pb.CancelOrderRequest, context: Context) -> pb.CancelOrderResponse:
        async def work(tx: Transaction) -> pb.CancelOrderResponse:
            book = PostgresBook(tx.connection)
            reason = Reason(order_pb2.CancelReason.Name(request.reason).removeprefix("CANCEL_REASON_"))
            order = await core.cancel_order(book, request.order_id, reason)
            book.record(store.own("OrderCancelled", reason.value))
            await book.write()
            tx.after_commit(book.count)
            return pb.CancelOrderResponse(order=_order(order))

        response = await self._database.once(request, pb.CancelOrderResponse, work)
        self._changes.changed(request.order_id)
        return response

    async def GetOrder(self, request: pb.GetOrderRequest, context: Context) -> pb.GetOrderResponse:
        return pb.GetOrderResponse(order=_story(await self._story(request.order_id)))

    async def ListOrders(self, request: pb.ListOrdersRequest, context: Context) -> pb.ListOrdersResponse:
        page = page_of(request)
        if page.after and not UUID.fullmatch(page.after):
            raise Refusal(Kind.INVALID, "INVALID_PAGE_TOKEN", "page_token is not one that a list has returned")
        state = State(order_pb2.OrderState.Name(request.state).removeprefix("ORDER_STATE_")) if request.state else None
        async with self._database.connection() as connection:
            found = await store.page(connection, state, page.after or None, page.size)
        token = page.next_token([each.order.order_id for each in found])
        return pb.ListOrdersResponse(orders=[_story(each) for each in found], next_page_token=token)

    async def RebuildTimelines(
        self, request: pb.RebuildTimelinesRequest, context: Context
    ) -> pb.RebuildTimelinesResponse:
        if (answer := await self._database.answered(request, pb.RebuildTimelinesResponse)) is not None:
            return answer
        subject = FACTS.story(request.order_id) if request.order_id else history.EVERYTHING
        start = int(request.page_token or 1)
        found = await history.page(self._bus, FACTS.stream, subject, start, REBUILD_PAGE)
        told = _told(found.records)

        async def work(tx: Transaction) -> pb.RebuildTimelinesResponse:
            if request.order_id:
                await core.choreographed_order(PostgresBook(tx.connection), request.order_id)
            return pb.RebuildTimelinesResponse(
                facts=len(found.records),
                orders=sum(event == "OrderCreated" for _, event in told),
                entries_written=await store.tell_again(tx.connection, told),
                next_page_token="" if found.is_last else str(found.records[-1].sequence + 1),
            )

        return await self._database.once(request, pb.RebuildTimelinesResponse, work)

    async def WatchOrder(
        self, request: pb.WatchOrderRequest, context: Context
    ) -> AsyncGenerator[pb.WatchOrderResponse]:
        async def look() -> Story:
            return await self._story(request.order_id)

        async for story in self._changes.follow(request.order_id, look, lambda story: story.order.is_final):
            yield pb.WatchOrderResponse(order=_story(story))

    async def _story(self, order_id: str) -> Story:
        async with self._database.connection() as connection:
            story = await store.story(connection, order_id)
        if story is None:
            raise core.unknown_order(order_id)
        return story


async def cancel_overdue(database: Database) -> None:
    """The watchdog: asks for a cancel of orders that nobody has finished in time."""
    while await _cancel_some_overdue(database):
        pass


async def _cancel_some_overdue(database: Database) -> bool:
    """In one transaction, few enough that it is short. False if none was found that nobody else is at."""
    async with database.announcing("watchdog") as tx:
        overdue = await store.overdue(tx.connection)
        for order_id in overdue:
            await _ask_for_cancel(tx, order_id, Reason.TIMED_OUT)
    return bool(overdue)


async def report_not_undone(database: Database) -> None:
    """The watchdog's alert: nobody gives up an undoing, but a person should know of one that gets nowhere."""
    async with database.connection() as connection:
        stuck = await store.not_undone(connection)
    for order in stuck:
        log.error(
            "order_not_undone",
            order__id=order.order_id,
            reason=order.reason and order.reason.value,
            awaited=sorted(core.awaited(order)),
            learned=sorted(order.learned),
        )


async def _ask_for_cancel(tx: Transaction, order_id: str, reason: Reason) -> Order:
    """Begin a cancel and ask the gate, in the trace of the order, whoever asks."""
    book = PostgresBook(tx.connection)
    order, is_new = await core.request_cancel(book, order_id, reason)
    if is_new:
        fact = orders_facts_pb2.OrderCancelRequested(order_id=order_id, reason=_reason(order))
        with tracing.continued(book.trace, f"cancel {reason.value}"):
            book.record(store.entry(fact, tx.announce(fact)))
        await book.write()
    return order


def _told(records: Iterable[Recorded]) -> dict[tuple[str, str], Entry]:
    """What timelines say of the facts that are known here, by order and event."""
    told: dict[tuple[str, str], Entry] = {}
    for record in sorted(records, key=lambda record: record.announced_at, reverse=True):
        with suppress(NoEvent):
            fact = record.fact()
            told[record.key, fact.DESCRIPTOR.name] = store.entry(fact, record.announced_at)
    return told


def _wanted(order_id: str, purchase: purchase_pb2.Purchase, *, choreographed: bool) -> Order:
    lines = tuple(Line(item.sku, item.quantity) for item in purchase.items)
    return Order(order_id, choreographed, purchase.customer_id, lines)


def _reason(order: Order) -> order_pb2.CancelReason.ValueType:
    return order_pb2.CancelReason.Value(f"CANCEL_REASON_{order.reason.value if order.reason else 'UNSPECIFIED'}")


def _order(order: Order) -> order_pb2.Order:
    message = order_pb2.Order(
        order_id=order.order_id,
        state=order_pb2.OrderState.Value(f"ORDER_STATE_{order.state.value}"),
        cancel_reason=_reason(order),
        items=[purchase_pb2.Item(sku=line.sku, quantity=line.quantity) for line in order.lines],
    )
    if order.shipped is not None:
        message.tracking = order.shipped.tracking
        message.total.CopyFrom(money_pb2.Money(currency=order.shipped.currency, amount_minor=order.shipped.total_minor))
    return message


def _story(story: Story) -> order_pb2.Order:
    message = _order(story.order)
    message.created_at.FromDatetime(story.created_at)
    message.updated_at.FromDatetime(story.updated_at)
    for entry in story.timeline:
        at = Timestamp()
        at.FromDatetime(entry.at)
        message.timeline.add(at=at, source=entry.source, event=entry.event, detail=entry.detail)
    return message
