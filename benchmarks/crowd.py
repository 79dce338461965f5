"""So many sagas open at any time, whatever becomes of the replicas."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count

from ensemble.orchestrator.v1.orchestrator_service_pb2 import StartSagaRequest
from ensemble.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceStub
from shop.customer.v1.customer_service_pb2 import MODE_ORCHESTRATED
from shop.workflow.v1.place_order_pb2 import PlaceOrder

from benchmarks.evidence import Evidence
from benchmarks.orders import start_request
from cli.client import answered
from cli.load import Load
from cli.stack.layout import ORCHESTRATOR
from cli.stack.state import State
from mesh.identity import new_id
from mesh.rpc.channel import channel

LOOK_S = 0.1
ORDERS = Load("", (MODE_ORCHESTRATED,), declined_every=10, out_of_stock_every=10)


@asynccontextmanager
async def crowd(stack: State, evidence: Evidence, size: int) -> AsyncGenerator[None]:
    """Keep `size` orders open, over all replicas, by starting new ones; those that are open at the end go on."""
    async with channel(stack.orchestrator, ORCHESTRATOR) as connection:
        keeping = asyncio.ensure_future(_keep(OrchestratorServiceStub(connection), evidence, size))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
        if not keeping.cancelled():
            keeping.result()


async def _keep(sagas: OrchestratorServiceStub, evidence: Evidence, size: int) -> None:
    numbers = count()
    starting: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:
        while True:
            for _ in range(size - await evidence.open_sagas() - len(starting)):
                start = group.create_task(_start(sagas, start_request(mixed_order(next(numbers)))))
                starting.add(start)
                start.add_done_callback(starting.discard)
            await asyncio.sleep(LOOK_S)


async def _start(sagas: OrchestratorServiceStub, request: StartSagaRequest) -> None:
    await answered(lambda: sagas.StartSaga(request))


def mixed_order(number: int) -> PlaceOrder:
    """A tenth is declined, a tenth asks for more than there is."""
    return PlaceOrder(order_id=new_id(), purchase=ORDERS.request(number).purchase)
