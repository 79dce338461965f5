"""`ensemble order`: place, get, list, watch and cancel orders."""

from collections.abc import Iterable
from typing import Annotated

import typer
from shop.customer.v1.customer_service_pb2 import CancelOrderRequest, GetOrderRequest, Mode
from shop.customer.v1.customer_service_pb2_grpc import CustomerServiceStub
from shop.orders.v1.order_pb2 import CancelReason, OrderState, TimelineEntry
from shop.orders.v1.orders_service_pb2 import ListOrdersRequest
from shop.orders.v1.orders_service_pb2_grpc import OrderServiceStub

from cli.client import DEFAULT_DATA, Address, Data, Json, Where, connected
from cli.follow import FINAL, Order, Unseen, follow
from cli.output import console, items_of, money, print_json, print_json_line, since, styled, table, when, word
from cli.running import EXIT_CODES, run
from cli.stack.layout import CUSTOMER, ORDERS
from cli.states import state_of, state_option
from mesh.identity import new_id

STATE = "ORDER_STATE_"

app = typer.Typer(no_args_is_help=True, epilog=EXIT_CODES, help="Place orders and follow them.")

OrderId = Annotated[str, typer.Argument(help="The order's id.")]


@app.command(epilog=EXIT_CODES)
def get(order_id: OrderId, data: Data = DEFAULT_DATA, address: Address = None, as_json: Json = False) -> None:
    """Show one order with its timeline."""
    run(_get(Where(data, address), order_id, as_json))


@app.command("list", epilog=EXIT_CODES)
def list_orders(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at the most.")] = 20,
    state: Annotated[str | None, state_option(OrderState.DESCRIPTOR, STATE)] = None,
    data: Data = DEFAULT_DATA,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """List orders, newest first. --address is that of the order service."""
    wanted = ListOrdersRequest(page_size=limit, state=state_of(OrderState.DESCRIPTOR, STATE, state))
    run(_list(Where(data, address), wanted, as_json))


@app.command(epilog=EXIT_CODES)
def watch(order_id: OrderId, data: Data = DEFAULT_DATA, address: Address = None, as_json: Json = False) -> None:
    """Follow one order until it is final."""
    run(_watch(Where(data, address), order_id, as_json))


@app.command(epilog=EXIT_CODES)
def cancel(order_id: OrderId, data: Data = DEFAULT_DATA, address: Address = None, as_json: Json = False) -> None:
    """Ask for an order to be cancelled, and tell the outcome: it may have shipped already."""
    run(_cancel(Where(data, address), order_id, as_json))


async def _get(where: Where, order_id: str, as_json: bool) -> None:
    async with connected(where, CUSTOMER) as channel:
        order = (await CustomerServiceStub(channel).GetOrder(GetOrderRequest(order_id=order_id))).order
    if as_json:
        print_json(order)
    else:
        print_order(order)
        print_timeline(order, order.timeline)


async def _list(where: Where, wanted: ListOrdersRequest, as_json: bool) -> None:
    async with connected(where, ORDERS) as channel:
        orders = (await OrderServiceStub(channel).ListOrders(wanted)).orders
    if as_json:
        for order in orders:
            print_json_line(order)
        return
    shown = table("order", "state", "reason", "items", "total>", "placed")
    for order in orders:
        shown.add_row(
            order.order_id,
            styled(state_word(order.state)),
            reason_word(order.cancel_reason),
            items_of(order.items),
            money(order.total),
            when(order.created_at),
        )
    console.print(shown)


async def _watch(where: Where, order_id: str, as_json: bool) -> None:
    async with connected(where, CUSTOMER) as channel:
        await show_changes(CustomerServiceStub(channel), order_id, as_json)


async def _cancel(where: Where, order_id: str, as_json: bool) -> None:
    async with connected(where, CUSTOMER) as channel:
        customer = CustomerServiceStub(channel)
        await customer.CancelOrder(CancelOrderRequest(request_id=new_id(), order_id=order_id))
        await show_changes(customer, order_id, as_json)


async def show_changes(customer: CustomerServiceStub, order_id: str, as_json: bool) -> None:
    """Print the order's timeline as it happens, and the final order."""
    unseen, first = Unseen(), True
    async for order in follow(customer, order_id):
        if as_json:
            print_json_line(order)
            continue
        if first:
            print_order(order)
            first = False
        print_timeline(order, unseen.of(order))
        if order.state in FINAL:
            print_outcome(order)


def print_order(order: Order) -> None:
    """Who, what and how: that which does not change."""
    mode = word(Mode.DESCRIPTOR, order.mode, "MODE_").lower()
    console.print(f"order {order.order_id}  {mode}  {items_of(order.items)}")


def print_timeline(order: Order, entries: Iterable[TimelineEntry]) -> None:
    """A line for each thing that happened."""
    for entry in entries:
        line = f"{since(order.placed_at, entry.at):>13}  {entry.source:<13} {entry.event:<30} {entry.detail}"
        console.print(line.rstrip(), markup=False, soft_wrap=True)


def print_outcome(order: Order) -> None:
    """Where the order stands."""
    console.print(styled(state_word(order.state)), outcome(order))


def outcome(order: Order) -> str:
    """What came of it: the reason of a cancel, or the price and the tracking code."""
    return reason_word(order.cancel_reason) or f"{money(order.total)} {order.tracking}".strip()


def state_word(state: int) -> str:
    return word(OrderState.DESCRIPTOR, state, STATE)


def reason_word(reason: int) -> str:
    return word(CancelReason.DESCRIPTOR, reason, "CANCEL_REASON_")
