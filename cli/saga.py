"""`ensemble saga`: what the orchestrator runs and how far it is."""

import importlib
import pkgutil
from typing import Annotated

import typer
from ensemble.orchestrator.v1.orchestrator_service_pb2 import (
    GetSagaRequest,
    ListSagasRequest,
    ResumeSagaRequest,
)
from ensemble.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceStub
from ensemble.orchestrator.v1.saga_pb2 import Saga, SagaEntryKind, SagaState
from shop.workflow import v1 as workflows

from cli.client import DEFAULT_DATA, Address, Data, Json, Where, connected
from cli.output import console, print_json, print_json_line, since, styled, table, when, word
from cli.running import EXIT_CODES, run
from cli.stack.layout import ORCHESTRATOR
from cli.states import state_of, state_option
from mesh.identity import new_id

# A saga's input is an Any: to print it, its type has to be known.
for module in pkgutil.iter_modules(workflows.__path__):
    importlib.import_module(f"{workflows.__name__}.{module.name}")

STATE = "SAGA_STATE_"

app = typer.Typer(no_args_is_help=True, epilog=EXIT_CODES, help="Look at the sagas of orchestrated orders.")


@app.command("list", epilog=EXIT_CODES)
def list_sagas(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at the most.")] = 20,
    state: Annotated[str | None, state_option(SagaState.DESCRIPTOR, STATE)] = None,
    data: Data = DEFAULT_DATA,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """List sagas, newest first."""
    wanted = ListSagasRequest(page_size=limit, state=state_of(SagaState.DESCRIPTOR, STATE, state))
    run(_list(Where(data, address), wanted, as_json))


@app.command(epilog=EXIT_CODES)
def show(
    saga_id: Annotated[str, typer.Argument(help="Its id, which is the order's id.")],
    data: Data = DEFAULT_DATA,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Show one saga with its log."""
    run(_show(Where(data, address), saga_id, as_json))


@app.command(epilog=EXIT_CODES)
def resume(
    saga_id: Annotated[str, typer.Argument(help="Its id, which is the order's id.")],
    data: Data = DEFAULT_DATA,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Take up at once a saga that waits, or that is quarantined."""
    run(_resume(Where(data, address), saga_id, as_json))


async def _list(where: Where, wanted: ListSagasRequest, as_json: bool) -> None:
    async with connected(where, ORCHESTRATOR) as channel:
        sagas = (await OrchestratorServiceStub(channel).ListSagas(wanted)).sagas
    if as_json:
        for saga in sagas:
            print_json_line(saga)
        return
    shown = table("saga", "workflow", "state", "started", "took>")
    for saga in sagas:
        took = since(saga.created_at, saga.updated_at)
        shown.add_row(saga.saga_id, saga.workflow, styled(_state(saga)), when(saga.created_at), took)
    console.print(shown)


async def _show(where: Where, saga_id: str, as_json: bool) -> None:
    async with connected(where, ORCHESTRATOR) as channel:
        saga = (await OrchestratorServiceStub(channel).GetSaga(GetSagaRequest(saga_id=saga_id))).saga
    if as_json:
        print_json(saga)
        return
    console.print(f"saga {saga.saga_id}  {saga.workflow}, version {saga.version}, epoch {saga.epoch}: ", end="")
    console.print(styled(_state(saga)))
    console.print(_log(saga))


async def _resume(where: Where, saga_id: str, as_json: bool) -> None:
    async with connected(where, ORCHESTRATOR) as channel:
        request = ResumeSagaRequest(request_id=new_id(), saga_id=saga_id)
        saga = (await OrchestratorServiceStub(channel).ResumeSaga(request)).saga
    if as_json:
        print_json(saga)
        return
    console.print(f"saga {saga.saga_id}: ", styled(_state(saga)))


def _log(saga: Saga) -> object:
    shown = table("#>", "at>", "step", "entry", "reason", "message")
    for entry in saga.entries:
        shown.add_row(
            str(entry.sequence),
            since(saga.created_at, entry.at),
            entry.path,
            word(SagaEntryKind.DESCRIPTOR, entry.kind, "SAGA_ENTRY_KIND_"),
            entry.reason,
            entry.message,
        )
    return shown


def _state(saga: Saga) -> str:
    return word(SagaState.DESCRIPTOR, saga.state, STATE)
