"""The orchestrator's door."""

from collections.abc import AsyncGenerator, Iterable
from datetime import UTC, datetime
from typing import Any

import grpc
from ensemble.orchestrator.v1 import orchestrator_service_pb2 as pb
from ensemble.orchestrator.v1 import orchestrator_service_pb2_grpc, saga_pb2
from google.protobuf.message import DecodeError, Message

from mesh import validation
from mesh.changes import Changes
from mesh.errors import Kind, Refusal, not_found, refused
from mesh.rpc.paging import page_of
from orchestrator.log import FINAL, Entry, State
from orchestrator.replica import Replica
from orchestrator.saga import AnySaga
from orchestrator.store import Conflict, Listing, Record, SagaStore

Context = grpc.aio.ServicerContext[Any, Any]
OPEN = frozenset(State) - FINAL
BLOCKED = saga_pb2.SAGA_STATE_BLOCKED
QUARANTINED = saga_pb2.SAGA_STATE_QUARANTINED


class OrchestratorServicer(orchestrator_service_pb2_grpc.OrchestratorServiceServicer):
    """Answers `ensemble.orchestrator.v1.OrchestratorService`."""

    def __init__(self, replica: Replica, store: SagaStore, workflows: Iterable[AnySaga], changes: Changes) -> None:
        self._replica = replica
        self._store = store
        self._workflows = {workflow.name: workflow for workflow in workflows}
        self._changes = changes

    async def StartSaga(self, request: pb.StartSagaRequest, context: Context) -> pb.StartSagaResponse:
        workflow = self._workflows.get(request.workflow)
        if workflow is None:
            message = f"there is no workflow {request.workflow}; there are {', '.join(sorted(self._workflows))}"
            raise not_found("UNKNOWN_WORKFLOW", message, workflow=request.workflow)
        given = _unpacked(request, workflow)
        try:
            record = await self._replica.start(workflow, request.saga_id, given)
        except Conflict as conflict:
            message = f"saga {request.saga_id} was started with another input; choose a new id"
            raise Refusal(Kind.ALREADY_EXISTS, "SAGA_EXISTS", message, saga_id=request.saga_id) from conflict
        return pb.StartSagaResponse(saga=self._saga(record, with_log=False))

    async def CancelSaga(self, request: pb.CancelSagaRequest, context: Context) -> pb.CancelSagaResponse:
        record = _known(await self._replica.cancel(request.saga_id, request.reason), request.saga_id)
        if record.state is State.SUCCEEDED:
            raise refused("SAGA_SUCCEEDED", f"saga {request.saga_id} has succeeded", saga_id=request.saga_id)
        return pb.CancelSagaResponse(saga=self._saga(record, with_log=False))

    async def ResumeSaga(self, request: pb.ResumeSagaRequest, context: Context) -> pb.ResumeSagaResponse:
        record = _known(await self._replica.resume(request.saga_id), request.saga_id)
        return pb.ResumeSagaResponse(saga=self._saga(record, with_log=False))

    async def GetSaga(self, request: pb.GetSagaRequest, context: Context) -> pb.GetSagaResponse:
        return pb.GetSagaResponse(saga=self._saga(await self._record(request.saga_id)))

    async def ListSagas(self, request: pb.ListSagasRequest, context: Context) -> pb.ListSagasResponse:
        page = page_of(request)
        records = await self._store.list(_listing(request.state, page.size, page.after))
        token = page.next_token([f"{record.created_at.isoformat()} {record.saga_id}" for record in records])
        return pb.ListSagasResponse(
            sagas=[self._saga(record, with_log=False) for record in records], next_page_token=token
        )

    async def WatchSaga(self, request: pb.WatchSagaRequest, context: Context) -> AsyncGenerator[pb.WatchSagaResponse]:
        async def look() -> Record:
            return await self._record(request.saga_id)

        async for record in self._changes.follow(request.saga_id, look, lambda record: record.state in FINAL):
            yield pb.WatchSagaResponse(saga=self._saga(record))

    async def _record(self, saga_id: str) -> Record:
        return _known(await self._store.get(saga_id), saga_id)

    def _saga(self, record: Record, *, with_log: bool = True) -> saga_pb2.Saga:
        saga = saga_pb2.Saga(
            saga_id=record.saga_id,
            workflow=record.workflow,
            version=record.version,
            state=self._state(record),
            epoch=record.epoch,
            entries=[_entry(entry) for entry in record.entries] if with_log else [],
        )
        saga.input.ParseFromString(record.input)
        saga.created_at.FromDatetime(record.created_at)
        saga.updated_at.FromDatetime(record.updated_at)
        return saga

    def _state(self, record: Record) -> saga_pb2.SagaState.ValueType:
        """The state of its log, unless there is a reason that nobody runs it."""
        deployed = {workflow.fingerprint for workflow in self._workflows.values()}
        if record.state not in FINAL and record.version not in deployed:
            return BLOCKED
        return QUARANTINED if record.quarantined else saga_pb2.SagaState.Value(f"SAGA_STATE_{record.state.value}")


def _unpacked(request: pb.StartSagaRequest, workflow: AnySaga) -> Message:
    """What the workflow is started with. Raises Refusal INVALID_INPUT."""
    given: Message = workflow.input()
    wanted = given.DESCRIPTOR.full_name
    try:
        fits = request.input.Unpack(given)
    except DecodeError:
        fits = False
    if not fits:
        message = f"workflow {workflow.name} takes a {wanted} as its input, not {request.input.type_url or 'nothing'}"
        raise Refusal(Kind.INVALID, "INVALID_INPUT", message, wanted=wanted)
    if found := validation.violations(given):
        message = "; ".join(f"input.{each.field} {each.description}" for each in found)
        raise Refusal(Kind.INVALID, "INVALID_INPUT", message)
    if getattr(given, workflow.key) != request.saga_id:
        raise Refusal(Kind.INVALID, "INVALID_INPUT", f"input.{workflow.key} is not the saga_id")
    return given


def _known(record: Record | None, saga_id: str) -> Record:
    if record is None:
        raise not_found("SAGA_NOT_FOUND", f"there is no saga {saga_id}", saga_id=saga_id)
    return record


def _listing(state: saga_pb2.SagaState.ValueType, size: int, after: str) -> Listing:
    """A saga that nobody runs is listed as that, not by the state of its log."""
    position = _position(after) if after else None
    if state == saga_pb2.SAGA_STATE_UNSPECIFIED:
        return Listing(frozenset(State), size=size, after=position)
    if state in (BLOCKED, QUARANTINED):
        blocked = state == BLOCKED
        return Listing(OPEN, blocked=blocked, quarantined=None if blocked else True, size=size, after=position)
    states = {State(saga_pb2.SagaState.Name(state).removeprefix("SAGA_STATE_"))}
    return Listing(states, blocked=False, quarantined=False, size=size, after=position)


def _position(after: str) -> tuple[datetime, str]:
    created_at, _, saga_id = after.partition(" ")
    try:
        at = datetime.fromisoformat(created_at).astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None or not validation.UUID.fullmatch(saga_id):
        raise Refusal(Kind.INVALID, "INVALID_PAGE_TOKEN", "page_token is not one that a list has returned")
    return at, saga_id


def _entry(entry: Entry) -> saga_pb2.SagaEntry:
    message = saga_pb2.SagaEntry(
        sequence=entry.sequence,
        run=entry.run,
        path=entry.path,
        kind=saga_pb2.SagaEntryKind.Value(f"SAGA_ENTRY_KIND_{entry.kind.value}"),
        epoch=entry.epoch,
        reason=entry.reason,
        message=entry.message,
    )
    if entry.at is not None:
        message.at.FromDatetime(entry.at)
    return message
