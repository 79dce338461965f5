"""`ensemble order place`: one order, or a load of them."""

import asyncio
import json
import time
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED, Mode
from shop.customer.v1.customer_service_pb2_grpc import CustomerServiceStub

from cli.client import DEFAULT_DATA, Address, Data, Json, Where, answered, connected
from cli.follow import Order, final
from cli.load import Load, Tally
from cli.order import print_order, show_changes
from cli.output import console, print_json, progress, styled, table
from cli.running import UNAVAILABLE, CommandError, run
from cli.stack.layout import CUSTOMER
from mesh.identity import new_id


class Modes(Enum):
    ORCHESTRATED = "orchestrated"
    CHOREOGRAPHED = "choreographed"
    BOTH = "both"


MODES: dict[Modes, tuple[Mode.ValueType, ...]] = {
    Modes.ORCHESTRATED: (MODE_ORCHESTRATED,),
    Modes.CHOREOGRAPHED: (MODE_CHOREOGRAPHED,),
    Modes.BOTH: (MODE_ORCHESTRATED, MODE_CHOREOGRAPHED),
}


@dataclass(frozen=True)
class Way:
    """How a load is placed."""

    concurrency: int
    wait: bool
    timeout: float
    as_json: bool


def place(  # noqa: PLR0913, PLR0917 - an option each
    sku: Annotated[str, typer.Option(help="What to buy.")] = Load.sku,
    quantity: Annotated[int, typer.Option(help="How many of it.")] = Load.quantity,
    mode: Annotated[Modes, typer.Option(help="How the services work together; `both` takes turns.")] = (
        Modes.ORCHESTRATED
    ),
    count: Annotated[int, typer.Option(min=1, help="How many orders.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="How many at a time.")] = 16,
    token: Annotated[str, typer.Option(help="The gateway's token for the card.")] = Load.token,
    postcode: Annotated[str, typer.Option(help="Where to.")] = Load.postcode,
    email: Annotated[str, typer.Option(help="Who gets the confirmation.")] = Load.email,
    declined_every: Annotated[int, typer.Option(min=0, help="Decline the card of every Nth order.")] = 0,
    out_of_stock_every: Annotated[int, typer.Option(min=0, help="Let every Nth order ask for too many.")] = 0,
    wait: Annotated[bool, typer.Option(help="Wait until each order is final.")] = True,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that all of it may take.")] = 300,
    request_id: Annotated[str, typer.Option(help="Repeat with the same one to get the first answer again.")] = "",
    data: Data = DEFAULT_DATA,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Place orders and wait until they are final.

    Outages are waited out: an order is placed again, under the same request id, until it is answered.
    """
    load = Load(
        request_id=request_id or new_id(),
        modes=MODES[mode],
        count=count,
        sku=sku,
        quantity=quantity,
        token=token,
        postcode=postcode,
        email=email,
        declined_every=declined_every,
        out_of_stock_every=out_of_stock_every,
    )
    run(_place(Where(data, address), load, Way(concurrency, wait, timeout, as_json)))


async def _place(where: Where, load: Load, way: Way) -> None:
    async with connected(where, CUSTOMER) as channel:
        customer = CustomerServiceStub(channel)
        if load.count == 1:
            await _place_one(customer, load, way)
        else:
            await _place_many(customer, load, way)


async def _place_one(customer: CustomerServiceStub, load: Load, way: Way) -> None:
    try:
        async with asyncio.timeout(way.timeout):
            order = (await answered(lambda: customer.PlaceOrder(load.request(0)))).order
            if way.wait:
                await show_changes(customer, order.order_id, way.as_json)
            else:
                (print_json if way.as_json else print_order)(order)
    except TimeoutError:
        raise CommandError(f"the order was not final within {way.timeout:g} s", UNAVAILABLE) from None


async def _place_many(customer: CustomerServiceStub, load: Load, way: Way) -> None:
    tally, started = Tally(), time.monotonic()
    with _Progress(load.count) as shown:
        try:
            async with asyncio.timeout(way.timeout):
                await _work_off(customer, load, way, tally, shown)
        except TimeoutError:
            pass
    _report(tally, load.count, time.monotonic() - started, way.as_json)
    if tally.orders < load.count:
        missing = load.count - tally.orders
        raise CommandError(f"{missing} orders were not final within {way.timeout:g} s", UNAVAILABLE)


async def _work_off(customer: CustomerServiceStub, load: Load, way: Way, tally: Tally, shown: "_Progress") -> None:
    numbers = iter(range(load.count))

    async def worker() -> None:
        for number in numbers:
            tally.add(await _one_of_many(customer, load, number, way.wait))
            shown.advance(tally.orders)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(way.concurrency, load.count)):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _one_of_many(customer: CustomerServiceStub, load: Load, number: int, wait: bool) -> Order:
    placed = (await answered(lambda: customer.PlaceOrder(load.request(number)))).order
    return await final(customer, placed.order_id) if wait else placed


class _Progress:
    """A bar on a terminal, else a line for each tenth."""

    def __init__(self, count: int) -> None:
        self._count = count
        columns = (TextColumn("orders"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=progress, transient=True, disable=not progress.is_terminal)
        self._task = self._bar.add_task("orders", total=count)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, done: int) -> None:
        self._bar.update(self._task, completed=done)
        tenth = max(self._count // 10, 1)
        if not progress.is_terminal and done % tenth == 0:
            progress.print(f"{done} of {self._count} orders")


def _report(tally: Tally, count: int, seconds: float, as_json: bool) -> None:
    rate = tally.orders / seconds
    rows = sorted(tally.outcomes.items())
    if as_json:
        outcomes = [{**vars(outcome), "orders": orders} for outcome, orders in rows]
        summary = {"orders": count, "final": tally.orders, "seconds": seconds, "orders_per_second": rate}
        typer.echo(json.dumps({**summary, "outcomes": outcomes}))
        return
    shown = table("mode", "state", "reason", "orders>")
    for outcome, orders in rows:
        shown.add_row(outcome.mode, styled(outcome.state), outcome.cancel_reason, f"{orders:,}")
    console.print(shown)
    console.print(f"{tally.orders:,} orders in {seconds:.1f} s: {rate:.0f} orders/s")
