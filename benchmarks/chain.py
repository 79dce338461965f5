"""`python -m benchmarks.chain`: the raw chain. A plain client that makes the six calls of an order in turn.

It is what one would write without an orchestrator: no journal, no undo, and what is half done when it dies stays so.
"""

from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message

from benchmarks import worker
from benchmarks.orders import new_order, story
from benchmarks.steady import steady
from cli.client import answered
from mesh.rpc.channel import Peers, connected
from mesh.telemetry import export
from orchestrator.workflows.place_order import PLACE_ORDER, Order

STEPS = PLACE_ORDER.steps
"""The workflow's own, which build the requests: the same calls, however many there are."""


class Chain:
    """Calls the participants."""

    def __init__(self, peers: Peers) -> None:
        self._calls: dict[str, grpc.aio.UnaryUnaryMultiCallable[Message, bytes]] = {
            step.name: peers.channel(step.method.rpartition("/")[0]).unary_unary(
                step.does.path, request_serializer=_serialize
            )
            for step in STEPS
        }

    async def place(self) -> None:
        """One order, to its end; what is not answered is repeated. Raises AioRpcError where it is refused."""
        order = new_order()
        answers: dict[str, bytes] = {}
        with story(order, "raw"):
            for step in STEPS:
                request = step.do_request(Order(order, answers), f"{order.order_id}/1/{step.name}/do")
                answers[step.name] = await answered(
                    partial(self._calls[step.name], request, timeout=step.does.deadline)
                )


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


async def start(given: Any, stack: AsyncExitStack) -> worker.Answer:
    """It is given the `targets` of the participants by package; a question is the arguments of a round."""
    stack.enter_context(export.configured("benchmark-chain"))
    chain = Chain(await stack.enter_async_context(connected(given["targets"])))

    async def answer(question: Any) -> Any:
        return (await steady(chain.place, **question)).model_dump()

    return answer


if __name__ == "__main__":
    worker.run(start)
