"""`python -m benchmarks.choreographed`: the same orders, each submitted to the Order service and awaited."""

from contextlib import AsyncExitStack
from typing import Any

from shop.orders.v1.orders_service_pb2_grpc import OrderServiceStub

from benchmarks import worker
from benchmarks.endings import ORDERS as ENDED
from benchmarks.endings import Endings
from benchmarks.orders import new_order, story, submit_request
from benchmarks.steady import steady
from cli.client import answered
from cli.stack.layout import ORDERS
from mesh.rpc.channel import connected
from mesh.telemetry import export


class Choreography:
    """Begins them and waits for their ends."""

    def __init__(self, orders: OrderServiceStub, endings: Endings) -> None:
        self._orders = orders
        self._endings = endings

    async def place(self) -> None:
        """One order, to its end. Raises AioRpcError where it is refused; RuntimeError if it is not fulfilled."""
        order = new_order()
        request = submit_request(order)
        with story(order, "choreographed"):
            await answered(lambda: self._orders.SubmitOrder(request))
        await self._endings.of(order.order_id)


async def start(given: Any, stack: AsyncExitStack) -> worker.Answer:
    """It is given `targets` and the `databases`; a question is the arguments of a round."""
    stack.enter_context(export.configured("benchmark-choreographed"))
    endings = await stack.enter_async_context(Endings.watched(given["databases"]["orders"], ENDED))
    peers = await stack.enter_async_context(connected({ORDERS: given["targets"][ORDERS]}))
    choreography = Choreography(OrderServiceStub(peers.channel(f"{ORDERS}.OrderService")), endings)

    async def answer(question: Any) -> Any:
        return (await steady(choreography.place, **question)).model_dump()

    return answer


if __name__ == "__main__":
    worker.run(start)
