"""A replica: which sagas run here, and how it takes over those of a replica that is gone."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message

from mesh.errors import Outage
from orchestrator import tracing
from orchestrator.caller import StaleEpoch
from orchestrator.clock import Clock
from orchestrator.engine import Engine
from orchestrator.log import FINAL
from orchestrator.outcome import opening
from orchestrator.run import Run
from orchestrator.saga import AnySaga
from orchestrator.store import Fenced, NewSaga, Record, SagaStore

log: structlog.stdlib.BoundLogger = structlog.get_logger("orchestrator.replica")

T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """How often a replica looks around, seconds, and how much it takes up."""

    sweep_s: float = 1.0
    renew_s: float = 1.0
    retry_s: float = 0.1
    """Before a saga that failed here is looked at again; doubles up to `retry_cap_s`."""
    retry_cap_s: float = 10.0
    drain_s: float = 10.0
    """How long steps in flight may take to finish when the replica stops."""
    batch: int = 50
    """Orphans adopted at once, at the most: survivors share what a dead replica leaves."""
    most: int = 10_000
    """Open sagas above which a replica adopts no more."""
    chance: random.Random = field(default_factory=random.Random)


class Replica:
    """Runs what is started here and adopts orphans, from when it is entered until it is left."""

    def __init__(
        self, store: SagaStore, engine: Engine, workflows: Iterable[AnySaga], clock: Clock, pace: Pace | None = None
    ) -> None:
        self._store = store
        self._engine = engine
        self._deployed = {saga.fingerprint: saga for saga in workflows}
        self._clock = clock
        self._pace = pace or Pace()
        self._runs: dict[str, Run | None] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = asyncio.Event()
        self._released = asyncio.Event()
        self._unsure = False
        """Whether an answer was lost that may have said that a saga is ours."""

    async def __aenter__(self) -> Self:
        await self._store.renew()
        self._renewer = asyncio.create_task(self._every(self._pace.renew_s, self._store.renew, self._released))
        self._sweeper = asyncio.create_task(self._every(self._pace.sweep_s, self._sweep, self._draining))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Adopt no more, let steps in flight finish, hand over what is left."""
        self._draining.set()
        self._sweeper.cancel()
        for run in filter(None, self._runs.values()):
            run.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._pace.drain_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(self._sweeper, *self._tasks, return_exceptions=True)
        self._released.set()
        await self._renewer
        with _survived("release"):
            await self._store.release()

    async def start(self, saga: AnySaga, saga_id: str, given: Message) -> Record:
        """The saga is stored, and runs here if it is new. Raises Conflict.

        Whoever asked may go away meanwhile: what is stored also runs.
        """
        packed = any_pb2.Any()
        packed.Pack(given, deterministic=True)
        new = NewSaga(
            saga_id=saga_id,
            workflow=saga.name,
            version=saga.fingerprint,
            input=packed.SerializeToString(deterministic=True),
            trace_context=tracing.root(saga_id, saga.name),
            entries=opening(saga),
        )
        return await asyncio.shield(self._task(self._start(new), copy_context()))

    async def cancel(self, saga_id: str, reason: str) -> Record | None:
        """A cancel is asked for; see SagaStore."""
        record = await self._store.cancel(saga_id, reason)
        if record is not None and (run := self._runs.get(saga_id)) is not None:
            run.cancel(record.cancel_reason)
        return record

    async def _start(self, new: NewSaga) -> Record:
        try:
            record = await self._store.start(new, owned=not self._draining.is_set())
        except Outage:
            self._unsure = True
            raise
        self._launch(record)
        return record

    def _launch(self, record: Record) -> None:
        """Run the saga if it is ours and does not run yet: never twice at once."""
        if self._is_ours(record) and record.saga_id not in self._runs and not self._draining.is_set():
            self._runs[record.saga_id] = None
            self._task(self._drive(record), Context())  # a new context: the deadline of who asked is not the saga's

    def _is_ours(self, record: Record) -> bool:
        return record.owner == self._store.replica_id and record.state not in FINAL

    async def _drive(self, record: Record) -> None:
        """Run a saga until it ends, is handed over or is no longer ours. No error leaves it behind."""
        tracing.enter(record.trace_context)
        look_again_s = self._pace.retry_s
        try:
            while self._is_ours(record) and not self._draining.is_set():
                if await self._run(record):
                    return
                await self._clock.wait(self._draining, look_again_s)
                look_again_s = min(2 * look_again_s, self._pace.retry_cap_s)
                record = await self._looked_up(record)
        finally:
            del self._runs[record.saga_id]

    async def _run(self, record: Record) -> bool:
        """Whether it ended or was stopped. If not, it is to be looked up whether it is still ours."""
        try:
            run = self._runs[record.saga_id] = Run(self._deployed[record.version], record)
            await self._engine.run(run)
        except (Fenced, StaleEpoch) as stale:
            log.info("fenced", saga_id=record.saga_id, epoch=record.epoch, by=type(stale).__name__)
        except Exception:
            log.exception("saga_failed", saga_id=record.saga_id)
        else:
            return True
        return False

    async def _looked_up(self, record: Record) -> Record:
        with _survived("look_up"):
            return await self._store.get(record.saga_id) or record
        return record

    async def _sweep(self) -> None:
        if self._unsure:
            await self._recover()
            self._unsure = False
        while len(self._runs) < self._pace.most:
            limit = self._pace.chance.randint(1, self._pace.batch)
            self._unsure = True
            claimed = await self._store.claim(limit)
            self._unsure = False
            for record in claimed:
                self._launch(record)
            if len(claimed) < limit:
                return

    async def _recover(self) -> None:
        for saga_id in await self._store.owned():
            if saga_id not in self._runs and (record := await self._store.get(saga_id)) is not None:
                self._launch(record)

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]], until: asyncio.Event) -> None:
        while not until.is_set():
            with _survived(act.__name__):
                await act()
            await self._clock.wait(until, self._pace.chance.uniform(seconds / 2, seconds))

    def _task(self, work: Coroutine[Any, Any, T], context: Context) -> asyncio.Task[T]:
        task = asyncio.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it was raised to whoever waited, if anybody still did


@contextmanager
def _survived(doing: str) -> Generator[None]:
    """No error ends a replica: the next round tries again."""
    try:
        yield
    except Outage as error:
        log.warning("store_unreachable", doing=doing, error=str(error))
    except Exception:
        log.exception("failed", doing=doing)
