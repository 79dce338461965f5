"""The chronicle of an orchestrated order: its saga's log, each answer with the call that it answers."""

from collections.abc import Iterator
from datetime import UTC, datetime

from ensemble.orchestrator.v1.saga_pb2 import Saga, SagaEntry, SagaEntryKind, SagaState
from google.protobuf.timestamp_pb2 import Timestamp

from catalogue.model import Catalogue
from cli.chronicle import Awaited, Chronicle, Happened
from cli.output import word

Kind = SagaEntryKind
ORCHESTRATOR = "orchestrator"
CALLS = {
    Kind.SAGA_ENTRY_KIND_STEP_STARTED: "{path}",
    Kind.SAGA_ENTRY_KIND_UNDO_STARTED: "{path} to be undone",
    Kind.SAGA_ENTRY_KIND_SLEEP_STARTED: "{path} to be over",
}
"""What is awaited from then on."""
ANSWERS = {
    Kind.SAGA_ENTRY_KIND_STEP_SUCCEEDED: "{path} done",
    Kind.SAGA_ENTRY_KIND_STEP_REFUSED: "{path} refused",
    Kind.SAGA_ENTRY_KIND_STEP_UNKNOWN: "{path} unanswered",
    Kind.SAGA_ENTRY_KIND_UNDO_SUCCEEDED: "{path} undone",
    Kind.SAGA_ENTRY_KIND_PIVOT_HELD: "{path} has happened: no way back",
    Kind.SAGA_ENTRY_KIND_SLEEP_ENDED: "{path} over",
}
"""What ends the waiting."""
NOTES = {
    Kind.SAGA_ENTRY_KIND_STARTED: "saga started",
    Kind.SAGA_ENTRY_KIND_CANCELLED: "cancel heeded",
    Kind.SAGA_ENTRY_KIND_UNDO_STUCK: "{path} cannot be undone yet",
    Kind.SAGA_ENTRY_KIND_ENDED: "saga ended",
    Kind.SAGA_ENTRY_KIND_ADOPTED: "taken over by another replica",
}
FINAL = (SagaState.SAGA_STATE_SUCCEEDED, SagaState.SAGA_STATE_UNWOUND)


def chronicle(saga: Saga, catalogue: Catalogue) -> Chronicle:
    """What the saga's log says now."""
    log = _Log(catalogue)
    lines: list[Happened | Awaited] = list(log.read(saga))
    return Chronicle(
        order_id=saga.saga_id,
        mode="orchestrated",
        state=word(SagaState.DESCRIPTOR, saga.state, "SAGA_STATE_"),
        outcome="",
        about=f"{saga.workflow}, version {saga.version}, epoch {saga.epoch}",
        began_at=_moment(saga.created_at),
        ended_at=_moment(saga.updated_at) if saga.state in FINAL else None,
        seen_at=datetime.now(UTC),
        lines=[*lines, *log.awaited()],
    )


class _Log:
    """Reads entries in turn, and knows what was called and not answered."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._services = {answer.name: service.name for service in catalogue.services for answer in service.answers}
        self._open: dict[str, SagaEntry] = {}
        self._stuck: dict[str, SagaEntry] = {}

    def read(self, saga: Saga) -> Iterator[Happened]:
        for entry in saga.entries:
            if entry.kind in CALLS:
                self._open[entry.path] = entry
            elif entry.kind in ANSWERS:
                yield self._answer(entry)
            else:
                if entry.kind == Kind.SAGA_ENTRY_KIND_UNDO_STUCK:
                    self._stuck[entry.path] = entry
                yield _line(entry, NOTES.get(entry.kind, _kind(entry)), ORCHESTRATOR)

    def awaited(self) -> Iterator[Awaited]:
        for call in self._open.values():
            stuck = self._stuck.get(call.path)
            yield Awaited(
                who=self._who(call),
                what=CALLS[call.kind].format(path=call.path),
                since=_moment(call.at),
                why=_reason(stuck) if stuck else "the orchestrator has asked, and has no answer yet",
                wrong=stuck is not None,
            )

    def _answer(self, entry: SagaEntry) -> Happened:
        call = self._open.pop(entry.path, None)
        self._stuck.pop(entry.path, None)
        return _line(entry, ANSWERS[entry.kind], self._who(entry), call)

    def _who(self, entry: SagaEntry) -> str:
        """The service that answers the RPC of the step's name; the orchestrator, where it is no call."""
        step = entry.path.rpartition("/")[2]
        return self._services.get("".join(map(str.capitalize, step.split("_"))), ORCHESTRATOR)


def _line(entry: SagaEntry, what: str, who: str, call: SagaEntry | None = None) -> Happened:
    return Happened(
        at=_moment(entry.at),
        took=_moment(entry.at) - _moment(call.at) if call else None,
        who=who,
        what=what.format(path=entry.path),
        detail=_reason(entry),
        wrong=entry.kind == Kind.SAGA_ENTRY_KIND_UNDO_STUCK,
    )


def _reason(entry: SagaEntry) -> str:
    return f"{entry.reason}: {entry.message}" if entry.message else entry.reason


def _kind(entry: SagaEntry) -> str:
    return word(SagaEntryKind.DESCRIPTOR, entry.kind, "SAGA_ENTRY_KIND_").lower()


def _moment(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
