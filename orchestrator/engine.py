"""The engine: from a position, act, record what came of it, go on."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import structlog

from orchestrator import metrics, tracing
from orchestrator.branches import Wait
from orchestrator.caller import Call, Caller, NoAnswer, Refused
from orchestrator.clock import Clock
from orchestrator.lease import Lease
from orchestrator.log import Action, Do, Rest, Undo
from orchestrator.outcome import Outcome, adopted, answered, recorded, refused, rested, unanswered
from orchestrator.patience import Patience
from orchestrator.progress import Progress
from orchestrator.run import Run
from orchestrator.store import Append, SagaStore
from orchestrator.target import Sick, Target

log: structlog.stdlib.BoundLogger = structlog.get_logger("orchestrator.engine")

PARK_S = 1.0
"""A saga that has nothing to do for so long is not kept in memory, seconds."""


class Engine:
    """Runs sagas, each in a task of its own."""

    def __init__(
        self,
        store: SagaStore,
        caller: Caller,
        clock: Clock,
        lease: Lease,
        *,
        patience: Patience | None = None,
        on_append: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_append` is told the id of each saga whose log has grown."""
        self._store = store
        self._caller = caller
        self._clock = clock
        self._lease = lease
        self._patience = patience or Patience()
        self._on_append = on_append
        self._targets: defaultdict[str, Target] = defaultdict(Target)
        self.progress = Progress(clock)

    async def run(self, run: Run) -> None:
        """Take the saga to its end, to where it has to wait for long, or to where it is stopped and handed over.

        Raises Fenced or StaleEpoch: it is no longer ours.
        """
        try:
            if run.adopted_from is not None:
                await self._record(run, adopted(run.adopted_from))
            while not run.over:
                await self._turn(run)
        finally:
            await run.branches.end()
        if run.stopped and not (run.parked or run.position.ended):
            await self._record(run, None, park_s=0.0)  # another replica need not wait until the last of ours is done

    async def _turn(self, run: Run) -> None:
        if run.must_unwind:
            await self._record(run, None)
            return
        came = await run.branches.first(run.position.next, partial(self._act, run), self._rest)
        if isinstance(came, Outcome):
            await self._record(run, came)
        elif run.must_unwind or (came.seconds < PARK_S and not came.parked):
            await self._clock.wait(run.woken, came.seconds)
            run.woken.clear()
        else:
            await self._record(run, None, park_s=came.seconds)

    async def _record(self, run: Run, outcome: Outcome | None, park_s: float | None = None) -> None:
        entries, position = recorded(run.position, run.epoch, outcome, run.cancel_reason)
        if not entries and park_s is None:
            return
        heard = run.cancel_reason is not None
        append = Append(
            run.saga_id, run.epoch, run.position.sequence + 1, entries, position.state, park_s, cancel_heard=heard
        )
        with self.progress.due(), tracing.appending(run.saga.name, append, position.failure):
            stored = await self._store.append(append)
        run.position = position.stored(stored.at)
        run.parked = park_s is not None
        run.heard(stored.at, self._clock.now())
        metrics.appended(run.saga.name, append, run.elapsed(run.created_at))
        run.cancel(stored.cancel_reason)
        self._on_append(run.saga_id)

    async def _rest(self, seconds: float) -> None:
        await self._clock.wait(asyncio.Event(), seconds)

    async def _act(self, run: Run, action: Action) -> Outcome | Wait:
        now = self._clock.now()
        if isinstance(action, Rest):
            if run.elapsed(action.since) >= action.sleep.seconds:
                return rested(action)
            return Wait(max(action.sleep.seconds - run.elapsed(action.since, now), 0.0), parked=True)
        if not isinstance(action, (Do, Undo)):
            raise TypeError(f"nothing to do where next is {action}")
        wait = run.not_before.get(action.path, now) - now
        return Wait(wait) if wait > 0 else await self._attempt(run, action)

    async def _attempt(self, run: Run, action: Do | Undo) -> Outcome | Wait:
        outcome = await self._in_turn(run, action, self._targets[action.step.does.service])
        if outcome is not None:
            return outcome
        now = self._clock.now()
        wait = self._patience.wait(run.position, action, run.elapsed(action.since, now))
        run.not_before[action.path] = now + wait
        return Wait(wait)

    async def _in_turn(self, run: Run, action: Do | Undo, target: Target) -> Outcome | Wait | None:
        """What comes of one attempt. None: it has to be repeated."""
        try:
            with self.progress.due(target):
                await target.turn()
        except Sick:
            return self._no_answer(run, action, "UNAVAILABLE", "the participant answers nobody")
        try:
            if run.stopped or not self._lease.holds():
                return Wait(0.0, parked=True)  # for whoever has a lease
            call, verb = _prepared(run, action)
            began = self._clock.now()
            with tracing.step(verb, run.saga.name, call) as span:
                outcome = await self._call(run, action, call, target)
                tracing.came(span, outcome)
                seconds = self._clock.now() - began
                metrics.attempted(verb, run.saga.name, call.path, outcome, seconds)
                self._tell(run, call, verb, outcome, seconds)
        finally:
            target.turn_over()
        return outcome

    async def _call(self, run: Run, action: Do | Undo, call: Call, target: Target) -> Outcome | None:
        try:
            answer = await self._caller.call(call)
        except Refused as no:
            target.answered()
            return refused(run.position, action, no.reason, no.message)
        except NoAnswer as silence:
            target.was_silent()
            tracing.silent(silence)
            return self._no_answer(run, action, silence.code, silence.message)
        target.answered()
        return answered(action, answer)

    def _no_answer(self, run: Run, action: Do | Undo, code: str, message: str) -> Outcome | None:
        tried_s = run.elapsed(action.since, self._clock.now())
        if not self._patience.is_over(run.position, action, tried_s):
            return None
        return unanswered(action, code, f"tried for {tried_s:.0f} s, the last time: {message}")

    def _tell(self, run: Run, call: Call, verb: str, outcome: Outcome | None, seconds: float) -> None:
        log.info(
            "step",
            saga__id=run.saga_id,
            saga__workflow=run.saga.name,
            saga__step=call.path,
            saga__verb=verb,
            saga__outcome="NO_ANSWER" if outcome is None else outcome.kind.name,
            reason="" if outcome is None else outcome.reason,
            saga__attempt=call.attempt,
            saga__epoch=run.epoch,
            duration_ms=round(seconds * 1000, 2),
        )


def _prepared(run: Run, action: Do | Undo) -> tuple[Call, str]:
    """The next attempt's call, and what people name it. Its request id is the same on every attempt, of any replica."""
    step, does = action.step, isinstance(action, Do)
    key = f"{run.saga_id}/{action.run}/{action.path}/{'do' if does else 'undo'}"
    method = step.does if does else step.undoes
    request = step.do_request(run.known, key) if does else step.undo_request(run.known, key)
    run.attempts[key] += 1
    call = Call(method, request, key, run.saga_id, action.path, run.attempts[key], run.epoch)
    return call, "step" if does else "undo"
