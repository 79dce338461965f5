"""`ensemble up`: the whole stack on this machine."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub

from cli.client import DEFAULT_DATA, Where, connected
from cli.output import console, table
from cli.running import run
from cli.stack.catalogue import deliver
from cli.stack.layout import DEFAULT_PORT_BASE, INVENTORY, Layout, label
from cli.stack.local import Plan, running
from cli.stack.state import State
from cli.stack.traces import Choice, chosen

PLACE_ORDER = (
    """grpcurl -plaintext -d '{"request_id": "my-first-order", "mode": "MODE_ORCHESTRATED", "purchase": """
    """{"customer_id": "ada", "email": "ada@example.com", "items": [{"sku": "KETTLE-1", "quantity": 1}], """
    """"payment_token": "tok_visa", "ship_to": {"name": "Ada Lovelace", "street": "Invalidenstr. 1", """
    """"postcode": "10115", "city": "Berlin", "country": "DE"}}}' \\\n"""
    """  %s shop.customer.v1.CustomerService/PlaceOrder"""
)


def up(  # noqa: PLR0913, PLR0917 - an option each
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Where everything is kept.")] = DEFAULT_DATA,
    port_base: Annotated[int, typer.Option(metavar="N", help="Ports are counted from here.")] = DEFAULT_PORT_BASE,
    replicas: Annotated[
        list[str] | None, typer.Option(metavar="NAME=N", help="So many of a service; may be repeated.")
    ] = None,
    nats: Annotated[int, typer.Option(metavar="1|3", help="NATS servers: one, or a cluster of three.")] = 1,
    restart: Annotated[bool, typer.Option(help="Start a process again when it dies.")] = True,
    traces: Annotated[bool, typer.Option(help="Trace every order.")] = True,
    jaeger: Annotated[
        bool, typer.Option("--jaeger", help="Send the traces to the `jaeger` on the PATH, not to our own collector.")
    ] = False,
    traces_query: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where Jaeger's API is, if OTEL_EXPORTER_OTLP_ENDPOINT leads to a Jaeger."),
    ] = None,
) -> None:
    """Start everything on loopback and keep it running until Ctrl-C.

    The traces go to a collector of our own, or to the OTEL_EXPORTER_OTLP_ENDPOINT of the environment if there is one.
    """
    choice = _choice(traces, jaeger, traces_query)
    run(_up(Plan(data, _layout(port_base, replicas or [], nats), restart, choice)))


def _choice(traces: bool, jaeger: bool, query: str | None) -> Choice:
    try:
        return chosen(wanted=traces, with_jaeger=jaeger, query=query)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _layout(port_base: int, replicas: list[str], nats: int) -> Layout:
    try:
        counts = {name: int(count) for name, count in (each.split("=") for each in replicas)}
    except ValueError:
        raise typer.BadParameter("--replicas takes NAME=N, for example orders=2") from None
    try:
        return Layout(port_base, counts, nats)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


async def _up(plan: Plan) -> None:
    console.print(f"starting in {plan.data} ...")
    async with running(plan, console.print) as stack:
        await fill_shelves(stack.state)
        _print_addresses(stack.state, plan.data)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        console.print("stopping ...")
    console.print("stopped")


async def fill_shelves(state: State) -> None:
    """Deliver the catalogue to a stack, unless it was before."""
    async with connected(Where(address=state.services[INVENTORY]), INVENTORY) as channel:
        await deliver(InventoryServiceStub(channel))


def _print_addresses(state: State, data: Path) -> None:
    shown = table("process", "pid>", "address")
    for process in state.processes:
        shown.add_row(label(process.name, process.replica), str(process.pid), process.address)
    console.print(shown)
    front_door = next(process.address for process in state.processes if process.name == "customer")
    console.print("\nEverything is up; Ctrl-C stops it. In another shell:\n")
    with_data = "" if data == DEFAULT_DATA else f" --data {data}"
    console.print(f"ensemble order place --mode both --count 20{with_data}", markup=False, soft_wrap=True)
    console.print(PLACE_ORDER % front_door, markup=False, soft_wrap=True)
    if state.traces_query:
        console.print(f"ensemble trace ORDER{with_data}", markup=False, soft_wrap=True)
    if any(process.name == "jaeger" for process in state.processes):
        console.print(f"\nJaeger: {state.traces_query}", markup=False)
