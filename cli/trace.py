"""`ensemble trace`: an order's trace as a waterfall, whether or not there is a Jaeger to look at it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from shop.customer.v1.customer_service_pb2 import GetOrderRequest
from shop.customer.v1.customer_service_pb2_grpc import CustomerServiceStub

from cli.client import DEFAULT_DATA, Data, Where, connected
from cli.output import console
from cli.running import REFUSED, USAGE, CommandError, run
from cli.stack.layout import CUSTOMER
from cli.waterfall.jaeger_json import exported
from cli.waterfall.query import spans_of_order
from cli.waterfall.show import Traced, show
from cli.waterfall.span import Span
from cli.waterfall.summary import summary_of
from cli.waterfall.svg import svg_of
from mesh.validation import UUID


def _order_id(text: str) -> str:
    if UUID.fullmatch(text):
        return text
    raise typer.BadParameter(f"{text!r} is not the id of an order: a UUID in its canonical form")


@dataclass(frozen=True)
class Output:
    """What becomes of the traces; they are drawn on the terminal, if nothing else is asked for."""

    every: bool
    export: str | None
    svg: Path | None
    as_json: bool


def trace(  # noqa: PLR0913, PLR0917 - an option each
    order_id: Annotated[str, typer.Argument(help="The order's id.", parser=_order_id, metavar="ORDER")],
    compare: Annotated[
        str | None,
        typer.Option(metavar="ORDER", parser=_order_id, help="Draw another order on the same scale of time."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every span, by its own name.")] = False,
    export: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write JSON that Jaeger's UI loads; - is stdout.")
    ] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw into an SVG.")] = None,
    data: Data = DEFAULT_DATA,
    traces: Annotated[
        str | None, typer.Option(metavar="URL", help="Of a Jaeger, or its like, without looking into --data.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the spans, a line each.")] = False,
) -> None:
    """Draw an order's trace: who did what, when and for how long; what failed, and what was undone.

    A solid line is work. A dotted one is the way: of a request there and back, of a fact to who reacts to it.
    """
    order_ids = [order_id] if compare is None else [order_id, compare]
    run(_trace(Where(data, traces=traces), order_ids, Output(every, export, svg, as_json)))


async def _trace(where: Where, order_ids: Sequence[str], output: Output) -> None:
    orders = await asyncio.gather(*(_traced(where, order_id) for order_id in order_ids))
    spans = [span for order in orders for span in order.spans]
    if output.export is not None:
        _write(output.export, json.dumps(exported(spans)))
    if output.svg is not None:
        _write(str(output.svg), svg_of(orders, every=output.every))
    if output.as_json:
        for span in spans:
            typer.echo(json.dumps(_object(span)))
    elif output.export is None and output.svg is None:
        show(console, orders, every=output.every)


async def _traced(where: Where, order_id: str) -> Traced:
    """Raises CommandError where there is no trace of the order, or nobody to ask."""
    spans = await spans_of_order(where.traces_url, order_id)
    if not spans:
        if where.traces is None:  # or else it may be an order of another stack
            await _check_exists(where, order_id)
        raise CommandError(
            f"order {order_id} has no trace: it was not sampled, or had to make room for younger ones, or nobody has "
            "told of it yet; try again in a second, or see `ensemble order show`",
            REFUSED,
        )
    return Traced(summary_of(order_id, spans), spans)


async def _check_exists(where: Where, order_id: str) -> None:
    """Raises CommandError where there is no such order, or nobody to say so."""
    async with connected(where, CUSTOMER) as channel:
        await CustomerServiceStub(channel).GetOrder(GetOrderRequest(order_id=order_id))


def _write(path: str, text: str) -> None:
    if path == "-":
        typer.echo(text)
        return
    try:
        Path(path).write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}; choose another", USAGE) from error


def _object(span: Span) -> dict[str, Any]:
    return {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "service": span.service,
        "name": span.name,
        "kind": span.kind.name,
        "start_ns": span.start,
        "end_ns": span.end,
        "failed": span.failed,
        "message": span.message,
        "attributes": dict(span.attributes),
        "events": [{"at_ns": each.at, "name": each.name, "attributes": dict(each.attributes)} for each in span.events],
        "links": [{"trace_id": link.trace_id, "span_id": link.span_id} for link in span.links],
    }
