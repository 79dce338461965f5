"""What commands print: tables and lines for people, protobuf JSON for programs."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime

import typer
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text
from shop.type.v1.money_pb2 import Money
from shop.type.v1.purchase_pb2 import Item

PIPE_WIDTH = 140
"""Columns of a table that is not printed on a terminal: nobody there can widen a window."""

console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
progress = Console(stderr=True, highlight=False)
"""For what is only of interest while one waits; it stays out of the way of what is piped."""

STYLES = {
    "COMPLETED": "green",
    "SUCCEEDED": "green",
    "CANCELLED": "yellow",
    "UNWOUND": "yellow",
    "STUCK": "red",
    "BLOCKED": "red",
}


def print_json(message: Message) -> None:
    """One object over several lines."""
    typer.echo(MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))


def print_json_line(message: Message) -> None:
    """One object on one line."""
    typer.echo(
        MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None)
    )


def table(*columns: str) -> Table:
    """An empty table; a column named with a trailing `>` is aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in columns:
        made.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left")
    return made


def word(enum: EnumDescriptor, number: int, prefix: str) -> str:
    """The name of an enum's value without the prefix that proto style demands; empty for UNSPECIFIED.

    Of a value that is newer than this program, the number.
    """
    known = enum.values_by_number.get(number)
    return known.name.removeprefix(prefix).removeprefix("UNSPECIFIED") if known else str(number)


def styled(state: str) -> Text:
    return Text(state, style=STYLES.get(state, ""))


def money(amount: Money) -> str:
    """For example `24.90 EUR`; empty for no money."""
    return f"{amount.amount_minor / 100:,.2f} {amount.currency}" if amount.currency else ""


def items_of(items: Iterable[Item]) -> str:
    """For example `2 x MUG-RED, 1 x KETTLE-1`."""
    return ", ".join(f"{item.quantity} x {item.sku}" for item in items)


def when(moment: Timestamp) -> str:
    """In local time, to the second."""
    return local(datetime.fromtimestamp(moment.seconds, UTC))


def local(moment: datetime) -> str:
    """In local time, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def since(start: Timestamp, moment: Timestamp) -> str:
    """How long after `start`, for example `+0.031 s`."""
    return f"{(moment.ToNanoseconds() - start.ToNanoseconds()) / 1e9:+.3f} s"
