"""`ensemble demo`: four orders in both modes, side by side, on a stack of its own; then the books."""

import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED
from shop.customer.v1.customer_service_pb2_grpc import CustomerServiceStub

from cli import books
from cli.books import Line
from cli.client import DEFAULT_DATA, Where, connected
from cli.load import DECLINED_TOKEN, Load
from cli.order import reason_word, state_word
from cli.output import console, table
from cli.running import REFUSED, CommandError, run
from cli.side_by_side import show_both
from cli.stack.catalogue import LIMITED, LIMITED_PIECES
from cli.stack.layout import CUSTOMER, Layout
from cli.stack.local import Plan, running
from cli.stack.ports import free_port_base
from cli.stack.state import State
from cli.stack.traces import chosen
from cli.up import PLACE_ORDER, fill_shelves
from mesh.identity import new_id

MODES = (MODE_ORCHESTRATED, MODE_CHOREOGRAPHED)


@dataclass(frozen=True)
class Case:
    title: str
    ends: str
    """State and reason that both orders must come to."""
    load: Load


PAIR = Load(request_id="", modes=MODES, count=len(MODES))
CASES = (
    Case("An order that succeeds", "COMPLETED", PAIR),
    Case("A declined card", "CANCELLED PAYMENT_DECLINED", replace(PAIR, token=DECLINED_TOKEN)),
    Case("More than there is", "CANCELLED OUT_OF_STOCK", replace(PAIR, sku=LIMITED, quantity=LIMITED_PIECES + 1)),
    Case("A place the carrier does not go to", "CANCELLED SHIPPING_REFUSED", replace(PAIR, postcode="00000")),
)


def demo(
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Keep the data here; by default it is removed in the end."),
    ] = None,
) -> None:
    """See the same orders succeed, fail and be undone in both modes, and the books balance."""
    run(_demo(data))


async def _demo(data: Path | None) -> None:
    with _home(data) as home:
        console.print("starting six services, the orchestrator, PostgreSQL, NATS and the outside world ...")
        traces = chosen(wanted=True, with_jaeger=False, query=None)
        async with running(Plan(home, Layout(free_port_base()), traces=traces), console.print) as stack:
            await fill_shelves(stack.state)
            await _perform(stack.state)
            console.print("\nstopping ...")
    _print_next_steps()


@contextmanager
def _home(data: Path | None) -> Generator[Path]:
    """The data directory. One of our own is removed, unless something went wrong in it."""
    if data is not None:
        yield data
        return
    parent = DEFAULT_DATA / "demo"
    parent.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield home
    except Exception:
        console.print(f"\nThe logs are kept in {home / 'logs'}")
        raise
    except BaseException:  # interrupted: nothing went wrong
        _remove(home, parent)
        raise
    _remove(home, parent)


def _remove(home: Path, parent: Path) -> None:
    shutil.rmtree(home)
    with suppress(OSError):  # something else is kept there
        parent.rmdir()
        DEFAULT_DATA.rmdir()


async def _perform(stack: State) -> None:
    """Place the orders, then look into the books. Raises CommandError when something is not as it must be."""
    before = await books.read(stack)
    async with connected(Where(address=stack.customer), CUSTOMER) as channel:
        wrong = [await _play(CustomerServiceStub(channel), case) for case in CASES]
    lines = await books.settled(before, lambda: books.read(stack))
    _print_books(lines)
    if any(wrong):
        raise CommandError("; ".join(filter(None, wrong)), REFUSED)
    if not all(line.balances for line in lines):
        raise CommandError("the books do not balance", REFUSED)


async def _play(customer: CustomerServiceStub, case: Case) -> str:
    """Show one case; returns what went wrong, if anything."""
    console.print(f"\n[bold]{case.title}[/]")
    orders = await show_both(customer, replace(case.load, request_id=new_id()))
    ends = {f"{state_word(order.state)} {reason_word(order.cancel_reason)}".strip() for order in orders}
    return "" if ends == {case.ends} else f"{case.title.lower()} came to {' and '.join(sorted(ends))}, not {case.ends}"


def _print_books(lines: Sequence[Line]) -> None:
    console.print("\n[bold]The books[/]")
    shown = table("", "completed orders >", "found >", "")
    for line in lines:
        verdict = "[green]balances[/]" if line.balances else "[red]DOES NOT BALANCE[/]"
        shown.add_row(line.what, f"{line.expected:,}", f"{line.found:,}", verdict)
    console.print(shown)


def _print_next_steps() -> None:
    console.print("\n[bold]Next[/]: `ensemble up` in one shell, and in another:\n")
    layout = Layout()
    front_door, orchestrator = layout.address("customer"), layout.address("orchestrator")
    console.print(PLACE_ORDER % front_door, soft_wrap=True, markup=False)
    console.print(f"grpcurl -plaintext {front_door} list")
    console.print(f"grpcurl -plaintext {front_door} describe shop.customer.v1.CustomerService")
    console.print(
        f"grpcurl -plaintext {orchestrator} ensemble.orchestrator.v1.OrchestratorService/ListSagas",
        soft_wrap=True,
    )
    console.print("ensemble order place --token tok_declined")
    console.print("ensemble trace ORDER")
