"""The participants, whichever the workflows name: they dedupe, refuse lower epochs and honour tombstones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from mesh.errors import Outage
from orchestrator.blocks import AnyStep
from orchestrator.caller import Call, NoAnswer, Refused, StaleEpoch
from tests.simulation.clock import ProcessClock
from tests.simulation.invariants import Watch
from tests.simulation.loop import Loop
from tests.simulation.network import Network
from tests.simulation.workload import Place


@dataclass
class Service:
    """One participant. It does what it is asked in one transaction."""

    watch: Watch
    refuses: set[Place]
    """What it says no to."""
    answers: dict[str, bytes | Refused] = field(default_factory=dict[str, bytes | Refused])
    """What it said, by request id."""
    epochs: dict[str, int] = field(default_factory=dict[str, int])
    """The newest epoch it has heard of each saga."""
    done: set[Place] = field(default_factory=set[Place])
    tombstones: set[Place] = field(default_factory=set[Place])

    def serve(self, step: AnyStep, call: Call) -> bytes:
        """Answer a call. Raises Refused or StaleEpoch."""
        self.fence(call)
        self.watch.serves(call)
        request_id = str(cast(Any, call.request).request_id)
        if request_id not in self.answers:
            decide = self._do if call.method.path == step.does.path else self._undo
            self.answers[request_id] = decide(step, call)
        answer = self.answers[request_id]
        if isinstance(answer, Refused):
            raise answer
        return answer

    def fence(self, call: Call) -> None:
        """Hear of an epoch. Raises StaleEpoch."""
        newest = self.epochs.get(call.saga_id, 0)
        if call.epoch < newest:
            raise StaleEpoch(f"{call.path} from epoch {call.epoch} after {newest}")
        self.epochs[call.saga_id] = call.epoch

    def _do(self, step: AnyStep, call: Call) -> bytes | Refused:
        place = call.saga_id, call.path
        if place in self.tombstones:
            return Refused("TOMBSTONE", "its undo came first")
        if place in self.refuses:
            return Refused("REFUSED", "the business says no")
        self.done.add(place)
        self.watch.happens("do", call)
        return step.answer().SerializeToString()

    def _undo(self, step: AnyStep, call: Call) -> bytes | Refused:
        place = call.saga_id, call.path
        if step.pivot and place in self.done:
            return Refused("TOO_LATE", "it has happened")
        self.tombstones.add(place)
        if place in self.done:
            self.watch.happens("undo", call)
        return b""


@dataclass(frozen=True)
class RemoteCaller:
    """A process's way to the participants."""

    watch: Watch
    network: Network
    process: Loop
    clock: ProcessClock
    services: Mapping[str, Service]
    step: Callable[[Call], AnyStep]
    """Which step a call is about."""

    async def call(self, call: Call) -> bytes:
        """See Caller."""
        self.watch.begins_call(self.process.name, call, self.clock)
        name = call.method.service
        serve = partial(self.services[name].serve, self.step(call), call)
        try:
            return await self.network.ask(self.process, name, serve, call.method.deadline or 0.0, doubles=True)
        except Outage as silence:
            raise NoAnswer("UNAVAILABLE", str(silence)) from silence
