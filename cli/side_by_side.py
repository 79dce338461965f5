"""Two orders in two columns, as things happen to them."""

import asyncio
from contextlib import ExitStack
from typing import Protocol, Self

from rich.live import Live
from rich.table import Table
from rich.text import Text
from shop.customer.v1.customer_service_pb2 import Mode
from shop.customer.v1.customer_service_pb2_grpc import CustomerServiceStub
from shop.orders.v1.order_pb2 import TimelineEntry

from cli.client import answered
from cli.follow import FINAL, Order, Unseen, final
from cli.load import Load
from cli.order import outcome, state_word
from cli.output import console, since, styled, word


class Screen(Protocol):
    def show(self, column: int, order: Order) -> None:
        """The order of that column has changed."""


async def show_both(customer: CustomerServiceStub, load: Load) -> list[Order]:
    """Place one order in each mode of the load and show their timelines until both are final."""
    with ExitStack() as stack:
        screen = stack.enter_context(_Live(load)) if console.is_terminal else _Lines(load)

        async def place(number: int) -> Order:
            placed = (await answered(lambda: customer.PlaceOrder(load.request(number)))).order
            return await final(customer, placed.order_id, lambda order: screen.show(number, order))

        return await asyncio.gather(*(place(number) for number in range(len(load.modes))))


def titles(load: Load) -> list[str]:
    return [word(Mode.DESCRIPTOR, mode, "MODE_").lower() for mode in load.modes]


class _Live:
    """On a terminal: one table, drawn again in place."""

    def __init__(self, load: Load) -> None:
        self._titles = titles(load)
        self._columns = [Text() for _ in load.modes]
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, column: int, order: Order) -> None:
        lines = [Text(_line(order, entry)) for entry in order.timeline]
        self._columns[column] = Text("\n").join([*lines, _end(order)])
        shown = Table(box=None, expand=True, pad_edge=False)
        for title in self._titles:
            shown.add_column(title, ratio=1, no_wrap=True, overflow="ellipsis")
        shown.add_row(*self._columns)
        self._live.update(shown, refresh=True)


class _Lines:
    """Anywhere else: a line for each thing that happens, in the column of its order."""

    def __init__(self, load: Load) -> None:
        self._width = console.width // len(load.modes)
        self._unseen = [Unseen() for _ in load.modes]
        console.print("".join(title.ljust(self._width) for title in titles(load)).rstrip())

    def show(self, column: int, order: Order) -> None:
        for entry in self._unseen[column].of(order):
            self._print(column, Text(_line(order, entry)))
        if order.state in FINAL:
            self._print(column, _end(order))

    def _print(self, column: int, line: Text) -> None:
        line.truncate(self._width - 2, overflow="ellipsis")
        console.print(Text(" " * self._width * column) + line)


def _line(order: Order, entry: TimelineEntry) -> str:
    return f"{since(order.placed_at, entry.at)}  {entry.source:<12}  {entry.event}  {entry.detail}".rstrip()


def _end(order: Order) -> Text:
    return Text.assemble(styled(state_word(order.state)), " ", outcome(order) if order.state in FINAL else "")
