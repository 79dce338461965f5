"""`ensemble order rebuild`: the timelines of choreographed orders, written anew from the facts."""

from typing import Annotated

import typer
from shop.orders.v1.orders_service_pb2 import RebuildTimelinesRequest, RebuildTimelinesResponse
from shop.orders.v1.orders_service_pb2_grpc import OrderServiceStub

from cli.client import DEFAULT_DATA, Address, Data, Json, Where, connected
from cli.output import console, print_json, progress
from cli.running import run
from cli.stack.layout import ORDERS
from mesh.identity import new_id


def rebuild(
    order_id: Annotated[str, typer.Argument(help="One order's; if not named, those of all choreographed orders.")] = "",
    data: Data = DEFAULT_DATA,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Bring timelines back to what the facts in the stream say. --address is that of the order service.

    Missing entries are written, wrong ones are set right; it can be repeated, and orders may go on meanwhile.
    """
    run(_rebuild(Where(data, address), order_id, as_json))


async def _rebuild(where: Where, order_id: str, as_json: bool) -> None:
    done = RebuildTimelinesResponse()
    async with connected(where, ORDERS) as channel:
        orders = OrderServiceStub(channel)
        while True:
            request = RebuildTimelinesRequest(request_id=new_id(), order_id=order_id, page_token=done.next_page_token)
            part = await orders.RebuildTimelines(request)
            done = _sum(done, part)
            if not part.next_page_token:
                break
            progress.print(_sentence(done), end="\r")
    if as_json:
        print_json(done)
    else:
        console.print(_sentence(done))


def _sum(done: RebuildTimelinesResponse, part: RebuildTimelinesResponse) -> RebuildTimelinesResponse:
    return RebuildTimelinesResponse(
        facts=done.facts + part.facts,
        orders=done.orders + part.orders,
        entries_written=done.entries_written + part.entries_written,
        next_page_token=part.next_page_token,
    )


def _sentence(done: RebuildTimelinesResponse) -> str:
    return f"read {done.facts:,} facts of {done.orders:,} orders, wrote {done.entries_written:,} entries"
