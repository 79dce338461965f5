"""A replica: which sagas run here, and how it takes over those of a replica that is gone."""

import asyncio
import random
from collections.abc import Coroutine, Generator, Iterable
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message
from opentelemetry.trace import Span

from mesh.background import ended
from mesh.errors import Outage
from mesh.telemetry.tracing import inject
from orchestrator import metrics, tracing
from orchestrator.caller import StaleEpoch
from orchestrator.clock import Clock
from orchestrator.engine import Engine
from orchestrator.lease import Lease
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

    sweep_s: float = 0.25
    breath_s: float = 0.03
    """Between two batches: survivors share what a dead replica leaves."""
    recover_s: float = 5.0
    """Between two looks for sagas that are ours and do not run here, where nothing tells that there are any."""
    beat_s: float = 0.2
    put_down_s: float = 1.0
    """For how long a saga that failed here is left alone; doubles with each attempt."""
    drain_s: float = 10.0
    """How long steps in flight may take to finish when the replica stops."""
    batch: int = 200
    """Orphans adopted at once, at the most, and waiting sagas taken up."""
    most: int = 10_000
    """Open sagas above which a replica adopts no more."""
    chance: random.Random = field(default_factory=random.Random)


class Replica:
    """Runs what is started here and adopts orphans, from when it is entered until it is left."""

    def __init__(
        self,
        store: SagaStore,
        engine: Engine,
        lease: Lease,
        workflows: Iterable[AnySaga],
        clock: Clock,
        pace: Pace | None = None,
    ) -> None:
        """The lease is kept by others for longer than the replica is entered."""
        self._store = store
        self._engine = engine
        self._lease = lease
        self._deployed = {saga.fingerprint: saga for saga in workflows}
        self._clock = clock
        self._pace = pace or Pace()
        self._runs: dict[str, Run | None] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}  # a set that keeps its order, for the simulation
        self._draining = asyncio.Event()
        self._something_due = asyncio.Event()
        self._unsure = False
        """Whether a saga may be ours that does not run here: an answer was lost, or a run ended unexpectedly."""
        self._recover_at = clock.now() + self._pace.recover_s

    async def __aenter__(self) -> Self:
        self._beater = asyncio.create_task(self._keep_beating())
        self._sweeper = asyncio.create_task(self._keep_sweeping())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Adopt no more, let steps in flight finish, hand over what is left."""
        self._draining.set()
        await ended(self._sweeper)
        for run in filter(None, self._runs.values()):
            run.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._pace.drain_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with _survived("release"):
            await self._store.release()
        await ended(self._beater)

    @property
    def behind_s(self) -> float:
        """For how long the oldest thing that could be done here has not been done, seconds."""
        return self._engine.progress.behind_s

    async def start(self, saga: AnySaga, saga_id: str, given: Message) -> Record:
        """The saga is stored, and runs here if it is new. Raises Conflict.

        Whoever asked may go away meanwhile: what is stored also runs.
        """
        packed = any_pb2.Any()
        packed.Pack(given, deterministic=True)
        with tracing.started(saga_id, saga.name) as span:
            new = NewSaga(
                saga_id=saga_id,
                workflow=saga.name,
                version=saga.fingerprint,
                input=packed.SerializeToString(deterministic=True),
                trace_context=inject(),
                entries=opening(saga),
            )
            return await asyncio.shield(self._task(self._start(new, span), copy_context()))

    async def cancel(self, saga_id: str, reason: str) -> Record | None:
        """A cancel is asked for; see SagaStore."""
        record = await self._store.cancel(saga_id, reason)
        if record is not None and (run := self._runs.get(saga_id)) is not None:
            run.cancel(record.cancel_reason)
        self._something_due.set()
        return record

    async def resume(self, saga_id: str) -> Record | None:
        """A saga that waits or is quarantined is taken up at once; see SagaStore."""
        record = await self._store.resume(saga_id)
        self._something_due.set()
        return record

    async def _start(self, new: NewSaga, span: Span) -> Record:
        try:
            record = await self._store.start(new, owned=self._takes_more())
        except Outage:
            self._unsure = True
            span.end()
            raise
        if record.trace_context == new.trace_context:  # else it was there before, in another trace
            span.end()
        self._launch(record)
        return record

    def _takes_more(self) -> bool:
        return len(self._runs) < self._pace.most and not self._draining.is_set() and self._lease.holds()

    def _launch(self, record: Record) -> None:
        """Run the saga if it is ours and does not run yet: never twice at once."""
        if record.owner != self._store.replica_id or record.state in FINAL or self._draining.is_set():
            return
        if record.saga_id in self._runs:
            run = self._runs[record.saga_id]
            self._unsure = self._unsure or run is None or run.epoch != record.epoch  # it may just be ending
        else:
            self._runs[record.saga_id] = None
            self._task(self._drive(record), Context())  # a new context: the deadline of who asked is not the saga's

    async def _drive(self, record: Record) -> None:
        """Run a saga until it ends, waits, is handed over or is no longer ours. No error leaves it behind."""
        tracing.enter(record.trace_context)
        try:
            run = self._runs[record.saga_id] = Run(self._deployed[record.version], record, self._clock.now())
            await self._engine.run(run)
        except Fenced:
            metrics.fenced(record.workflow)
            log.info("fenced", saga__id=record.saga_id, saga__epoch=record.epoch)
            self._unsure = True
        except StaleEpoch as stale:
            # If it is ours all the same, the store was put back to an earlier time: it gets a higher epoch each time.
            log.warning("stale_epoch", saga__id=record.saga_id, saga__epoch=record.epoch, by=str(stale))
            await self._put_down(record)
        except Exception:
            log.exception("saga_failed", saga__id=record.saga_id, attempts=record.attempts)
            await self._put_down(record)
        finally:
            del self._runs[record.saga_id]

    async def _put_down(self, record: Record) -> None:
        self._unsure = True
        with _survived("put_down"):
            seconds = self._pace.put_down_s * 2 ** (record.attempts - 1)
            await self._store.put_down(record.saga_id, record.epoch, seconds)

    async def _sweep(self) -> bool:
        """Whether there may be more to do."""
        now = self._clock.now()
        if self._unsure or now >= self._recover_at:  # what was asked may come so late that being unsure has passed
            self._unsure = False
            await self._recover()
            self._recover_at = now + self._pace.recover_s
        if not self._takes_more():
            return False
        claimed = await self._store.claim(self._pace.chance.randint(1, self._pace.batch))
        for record in claimed:
            self._launch(record)
        return bool(claimed)

    async def _recover(self) -> None:
        for saga_id in await self._store.owned():
            if saga_id not in self._runs:
                with _survived("recover"):
                    record = await self._store.get(saga_id)
                    if record is not None:
                        self._launch(record)

    async def _keep_sweeping(self) -> None:
        while not self._draining.is_set():
            self._something_due.clear()
            more = False
            try:
                with self._engine.progress.due():
                    more = await self._sweep()
            except Outage as error:
                self._unsure = True  # it may be that the answer was lost, not the claim
                log.warning("store_unreachable", doing="sweep", error=str(error))
            except Exception:
                self._unsure = True
                log.exception("failed", doing="sweep")
            pause_s = self._pace.breath_s if more else self._pace.sweep_s
            await self._clock.wait(self._something_due, self._pace.chance.uniform(pause_s / 2, pause_s))

    async def _keep_beating(self) -> None:
        while True:
            self._lease.beat()
            await self._clock.wait(asyncio.Event(), self._pace.beat_s)

    def _task(self, work: Coroutine[Any, Any, T], context: Context) -> asyncio.Task[T]:
        task = asyncio.create_task(work, context=context)
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
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
