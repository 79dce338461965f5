"""The engine: from a position, act once, record what came of it, go on."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from orchestrator import tracing
from orchestrator.caller import Call, Caller, NoAnswer, Refused
from orchestrator.clock import Clock
from orchestrator.log import Do, Undo
from orchestrator.outcome import Outcome, answered, recorded, refused, unanswered
from orchestrator.patience import Patience
from orchestrator.run import Run
from orchestrator.store import Append, SagaStore

log: structlog.stdlib.BoundLogger = structlog.get_logger("orchestrator.engine")


class Engine:
    """Runs sagas, each in a task of its own."""

    def __init__(
        self,
        store: SagaStore,
        caller: Caller,
        clock: Clock,
        *,
        patience: Patience | None = None,
        max_calls: int = 256,
        on_append: Callable[[str], None] = lambda _: None,
    ) -> None:
        """At most `max_calls` attempts are in flight at once; a saga that waits for its next attempt holds no place.
        `on_append` is told the id of each saga whose log has grown.
        """
        self._store = store
        self._caller = caller
        self._clock = clock
        self._patience = patience or Patience()
        self._on_append = on_append
        self._places = asyncio.Semaphore(max_calls)

    async def run(self, run: Run) -> None:
        """Take the saga to its end, or to where it is stopped. Raises Fenced or StaleEpoch: it is no longer ours."""
        await self._record(run, None)  # a saga that was adopted may lack the intent of what is next
        while not run.position.ended and not run.stopped:
            outcome = None if run.must_unwind else await self._act(run)
            await self._record(run, outcome)

    async def _record(self, run: Run, outcome: Outcome | None) -> None:
        entries, position = recorded(run.position, run.epoch, outcome, run.cancel_reason)
        if not entries:
            return
        cancel = await self._store.append(Append(run.saga_id, run.epoch, entries, position.state))
        run.position = position
        run.cancel(cancel)
        self._on_append(run.saga_id)

    async def _act(self, run: Run) -> Outcome | None:
        """Do or undo what is next until something comes of it. None where a cancel or a stop is first."""
        call, verb = _prepared(run)
        started = self._clock.now()
        attempts, outcome = 0, None
        with tracing.step(verb, run.saga_id, run.saga.name, call.path) as span:
            for wait in self._patience.waits(run.position):
                attempts += 1
                outcome = await self._attempt(run, replace(call, attempt=attempts), started)
                if outcome is None:
                    await self._clock.wait(run.woken, wait)
                    run.woken.clear()
                if outcome is not None or run.stopped or run.must_unwind:
                    break
            span.set_attribute("saga.attempt", attempts)
        self._tell(run, call, verb, attempts, started, outcome)
        return outcome

    async def _attempt(self, run: Run, call: Call, started: float) -> Outcome | None:
        """What comes of one attempt. None: it has to be repeated."""
        try:
            async with self._places:
                answer = await self._caller.call(call)
        except Refused as no:
            return refused(run.position, no.reason, no.message)
        except NoAnswer as silence:
            if self._patience.is_over(run.position, call.attempt, self._clock.now() - started):
                message = f"{call.attempt} attempts, the last one: {silence.message}"
                return unanswered(run.position, silence.code, message)
            return None
        return answered(run.position, answer)

    def _tell(self, run: Run, call: Call, verb: str, attempts: int, started: float, outcome: Outcome | None) -> None:
        log.info(
            "step",
            saga_id=run.saga_id,
            workflow=run.saga.name,
            step=call.path,
            verb=verb,
            outcome="INTERRUPTED" if outcome is None else outcome.kind.name,
            reason="" if outcome is None else outcome.reason,
            attempts=attempts,
            epoch=run.epoch,
            duration_ms=round((self._clock.now() - started) * 1000, 2),
        )


def _prepared(run: Run) -> tuple[Call, str]:
    """The call that is next, and what people name it. Its request id is the same on every attempt, of any replica."""
    match run.position.next:
        case Do(step=step, run=number):
            request = step.do_request(run.facts, f"{run.saga_id}/{number}/{step.name}/do")
            return Call(step.does, request, run.saga_id, step.name, 1, run.epoch), "step"
        case Undo(step=step, run=number):
            request = step.undo_request(run.facts, f"{run.saga_id}/{number}/{step.name}/undo")
            return Call(step.undoes, request, run.saga_id, step.name, 1, run.epoch), "undo"
        case other:
            raise TypeError(f"nothing to call where next is {other}")
