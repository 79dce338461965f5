"""`ensemble order show`: the story of an order, whichever way its services work together."""

from typing import Annotated

import grpc
import typer
from ensemble.orchestrator.v1.orchestrator_service_pb2 import GetSagaRequest
from ensemble.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceStub

from catalogue import model
from catalogue.model import Catalogue
from cli import choreographed, orchestrated
from cli.broker import Nats, connected_bus
from cli.chronicle import Chronicle, print_chronicle, print_chronicle_json
from cli.client import DEFAULT_DATA, Data, Json, Where, connected
from cli.evidence import gather
from cli.running import REFUSED, UNAVAILABLE, CommandError, run
from cli.stack import StackError
from cli.stack.layout import ORCHESTRATOR
from cli.story import tell
from mesh.validation import UUID


def show(
    order_id: Annotated[str, typer.Argument(help="The order's id.")],
    data: Data = DEFAULT_DATA,
    nats: Nats = None,
    as_json: Json = False,
) -> None:
    """Tell an order's story: who did what, why and how fast, and who is awaited since when.

    Of a choreographed order, from the facts that the broker keeps for 7 days, whether or not a service answers; of an
    orchestrated one, from the log of its saga.
    """
    if not UUID.fullmatch(order_id):
        raise typer.BadParameter(f"{order_id!r} is not the id of an order: a UUID in its canonical form")
    run(_show(Where(data, nats=nats), order_id, as_json))


async def _show(where: Where, order_id: str, as_json: bool) -> None:
    found = await _found(where, order_id)
    (print_chronicle_json if as_json else print_chronicle)(found)


async def _found(where: Where, order_id: str) -> Chronicle:
    """The order, from whoever has it. Raises CommandError, also if it may be with one who does not answer."""
    catalogue, silent = model.read(), list[str]()
    for ask in (_from_facts, _from_saga):
        try:
            if (found := await ask(where, order_id, catalogue)) is not None:
                return found
        except (CommandError, StackError) as error:
            if isinstance(error, CommandError) and error.exit_code != UNAVAILABLE:
                raise
            silent.append(str(error))
    if silent:
        raise CommandError(f"order {order_id} is not where one could ask; {'; '.join(silent)}", UNAVAILABLE)
    raise CommandError(f"neither a fact nor a saga of order {order_id} is kept; see `ensemble order get`", REFUSED)


async def _from_facts(where: Where, order_id: str, catalogue: Catalogue) -> Chronicle | None:
    async with connected_bus(where) as bus:
        evidence = await gather(bus, order_id)
    return choreographed.chronicle(tell(evidence, catalogue), evidence) if evidence.facts else None


async def _from_saga(where: Where, order_id: str, catalogue: Catalogue) -> Chronicle | None:
    async with connected(where, ORCHESTRATOR) as channel:
        try:
            saga = (await OrchestratorServiceStub(channel).GetSaga(GetSagaRequest(saga_id=order_id))).saga
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise
    return orchestrated.chronicle(saga, catalogue)
