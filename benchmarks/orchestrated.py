"""`python -m benchmarks.orchestrated`: the same orders as sagas, each started at the orchestrator and awaited."""

from contextlib import AsyncExitStack
from typing import Any

from ensemble.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceStub

from benchmarks import worker
from benchmarks.endings import SAGAS, Endings
from benchmarks.orders import new_order, start_request, story
from benchmarks.steady import steady
from cli.client import answered
from cli.stack.layout import ORCHESTRATOR
from mesh.rpc.channel import connected
from mesh.telemetry import export


class Sagas:
    """Starts them and waits for their ends."""

    def __init__(self, orchestrator: OrchestratorServiceStub, endings: Endings) -> None:
        self._orchestrator = orchestrator
        self._endings = endings

    async def place(self) -> None:
        """One order, to its end. Raises AioRpcError where it is refused; RuntimeError if it does not succeed."""
        order = new_order()
        request = start_request(order)
        with story(order, "orchestrated"):
            await answered(lambda: self._orchestrator.StartSaga(request))
        await self._endings.of(order.order_id)


async def start(given: Any, stack: AsyncExitStack) -> worker.Answer:
    """It is given `targets` and the `databases`; a question is the arguments of a round."""
    stack.enter_context(export.configured("benchmark-orchestrated"))
    endings = await stack.enter_async_context(Endings.watched(given["databases"]["orchestrator"], SAGAS))
    peers = await stack.enter_async_context(connected({ORCHESTRATOR: given["targets"][ORCHESTRATOR]}))
    sagas = Sagas(OrchestratorServiceStub(peers.channel(f"{ORCHESTRATOR}.OrchestratorService")), endings)

    async def answer(question: Any) -> Any:
        return (await steady(sagas.place, **question)).model_dump()

    return answer


if __name__ == "__main__":
    worker.run(start)
