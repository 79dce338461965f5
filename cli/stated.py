"""Options that say which facts are meant: an empty one, as of a variable that was never set, must not mean all."""

import re
from typing import Annotated

import typer


def name(text: str) -> str:
    """What can be a part of a subject, without wildcards. Raises BadParameter."""
    if re.fullmatch(r"[^\s*>]+", text):
        return text
    raise typer.BadParameter(f"{text!r} is no name")


def words(text: str) -> str:
    """Anything that says something. Raises BadParameter."""
    if text.strip():
        return text
    raise typer.BadParameter("it is empty")


Durable = Annotated[
    str | None,
    typer.Option("--durable", metavar="NAME", parser=name, help="Only of this reaction, as inventory_OrderCreated."),
]
Fact = Annotated[
    str | None,
    typer.Option(
        "--fact", metavar="TYPE", parser=name, help="Only facts of this type, as shop.orders.v1.OrderCreated."
    ),
]
Order = Annotated[str | None, typer.Option("--order", metavar="ID", parser=name, help="Only facts about this order.")]
Containing = Annotated[
    str | None,
    typer.Option("--containing", metavar="TEXT", parser=words, help="Only those with this in their reason."),
]
