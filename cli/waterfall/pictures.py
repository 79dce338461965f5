"""The pictures in the documents, drawn anew: `python -m cli.waterfall.pictures FOLDER`, or `make pictures`.

A stack is started for them, and orders are placed in it, both ways.
"""

import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED
from shop.customer.v1.customer_service_pb2_grpc import CustomerServiceStub

from cli.client import Where, connected
from cli.follow import final
from cli.load import Load
from cli.stack.layout import CUSTOMER, Layout
from cli.stack.local import Plan, running
from cli.stack.ports import free_port_base
from cli.stack.traces import to_collector
from cli.up import fill_shelves
from cli.waterfall.query import spans_of_order
from cli.waterfall.show import Traced
from cli.waterfall.summary import summary_of
from cli.waterfall.svg import svg_of
from mesh.identity import new_id

PAIR = Load(request_id="", modes=(MODE_ORCHESTRATED, MODE_CHOREOGRAPHED), count=2)
WARM_UP = 5
"""Pairs that are not drawn: what comes first waits for connections."""
QUIET_SECONDS = 3.0
"""A trace that has not grown for so long is whole."""


async def draw(folder: Path) -> None:
    """An order of each mode that is fulfilled, and a pair that the carrier refuses."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        async with running(Plan(Path(home), Layout(free_port_base()), traces=to_collector), print) as stack:
            await fill_shelves(stack.state)
            where = Where(address=stack.state.customer, traces=stack.state.traces_query)
            async with connected(where, CUSTOMER) as channel:
                customer = CustomerServiceStub(channel)
                for _ in range(WARM_UP):
                    await _placed(customer, PAIR)
                fulfilled = await _placed(customer, PAIR)
                refused = await _placed(customer, replace(PAIR, postcode="00000"))
            orchestrated, choreographed = [await _traced(where.traces_url, each) for each in fulfilled]
            compared = [await _traced(where.traces_url, each) for each in refused]
    pictures = {"orchestrated": [orchestrated], "choreographed": [choreographed], "compared": compared}
    for name, orders in pictures.items():
        (folder / f"{name}.svg").write_text(svg_of(orders) + "\n", encoding="utf-8")


async def _placed(customer: CustomerServiceStub, load: Load) -> list[str]:
    """The ids of the load's orders, placed one after the other, once each is final."""
    load, order_ids = replace(load, request_id=new_id()), list[str]()
    for number in range(load.count):
        order = (await customer.PlaceOrder(load.request(number))).order
        order_ids.append((await final(customer, order.order_id)).order_id)
    return order_ids


async def _traced(url: str, order_id: str) -> Traced:
    """Once it is there, and nothing is added any more."""
    spans, before = await spans_of_order(url, order_id), 0
    while not spans or len(spans) != before:
        before = len(spans)
        await asyncio.sleep(QUIET_SECONDS)
        spans = await spans_of_order(url, order_id)
    return Traced(summary_of(order_id, spans), spans)


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1])))
