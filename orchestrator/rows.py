"""Between the rows of the PostgreSQL store and what the orchestrator speaks of."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any

import asyncpg

from orchestrator.log import Entry, Kind, State
from orchestrator.store import Append, NewSaga, Record


def columns(rows: Sequence[tuple[Any, ...]], width: int) -> Iterable[Sequence[Any]]:
    """The rows, each of `width` values, as columns: that is how `unnest` takes them."""
    return zip(*rows, strict=True) if rows else [()] * width


def new_row(new: NewSaga, *, owned: bool) -> tuple[Any, ...]:
    """What is stored of a new saga, besides its log."""
    return new.saga_id, new.workflow, new.version, new.input, new.trace_context, len(new.entries), owned


def entry_rows(saga_id: str, entries: Sequence[Entry]) -> list[tuple[Any, ...]]:
    """What is stored of entries; epoch and time are the statement's to say."""
    return [(saga_id, e.sequence, e.run, e.path, e.kind.value, e.payload, e.reason, e.message) for e in entries]


def append_row(append: Append) -> tuple[Any, ...]:
    """What an append asks for, besides its entries."""
    return append.saga_id, append.epoch, append.state.value, append.sequence, append.park_s, append.cancel_heard


def started_record(new: NewSaga, row: asyncpg.Record) -> Record:
    """A saga that has just been stored."""
    at = row["created_at"]
    return Record(
        saga_id=new.saga_id,
        workflow=new.workflow,
        version=new.version,
        input=new.input,
        trace_context=new.trace_context,
        state=State.RUNNING,
        owner=row["owner"],
        epoch=1,
        attempts=1,
        quarantined=False,
        cancel_reason=None,
        created_at=at,
        updated_at=at,
        read_at=at,
        entries=tuple(replace(entry, at=at) for entry in new.entries),
    )


def by_saga(rows: Iterable[asyncpg.Record]) -> dict[str, list[asyncpg.Record]]:
    """The rows of each saga, from one row per entry."""
    return {saga_id: list(group) for saga_id, group in groupby(rows, lambda row: row["saga_id"])}


def with_log(rows: Sequence[asyncpg.Record]) -> Record:
    """A saga with its log. Raises ValueError where a later release has written what this one does not know."""
    return record(rows[-1], rows[-1]["at"], tuple(map(_entry, rows)))


def record(row: asyncpg.Record, updated_at: datetime, entries: tuple[Entry, ...] = ()) -> Record:
    """A saga, from its row."""
    return Record(
        saga_id=row["saga_id"],
        workflow=row["workflow"],
        version=row["version"],
        input=row["input"],
        trace_context=row["trace_context"],
        state=State(row["state"]),
        owner=row["owner"],
        epoch=row["saga_epoch"],
        attempts=row["attempts"],
        quarantined=row["quarantined"],
        cancel_reason=row["cancel_reason"],
        created_at=row["created_at"],
        updated_at=updated_at,
        read_at=row["read_at"],
        entries=entries,
        adopted_from=row["former"],
    )


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(
        sequence=row["sequence"],
        run=row["run"],
        path=row["path"],
        kind=Kind(row["kind"]),
        payload=row["payload"],
        reason=row["reason"],
        message=row["message"],
        epoch=row["epoch"],
        at=row["at"],
    )
