"""The network: it delays, loses, doubles and reorders, and is cut between some for a while."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mesh.errors import Outage
from tests.simulation.loop import Loop

STORE = "store"
PARTICIPANTS = "participants"
SOON_S = 0.001, 0.01
"""How long a message takes between clients and replicas, seconds."""
USUAL_S = 0.01, 0.05, 0.2
"""How long one takes at the most, in a story, where nothing is wrong with it; seconds."""
LATE_S = 0.5, 6.0
"""How long what is late takes, seconds: longer than whoever asked waits, and longer than a lease."""


@dataclass(frozen=True)
class Noise:
    """How often a message meets what, from 0 to 1."""

    lost: float = 0.0
    late: float = 0.0
    doubled: float = 0.0


QUIET = Noise()


@dataclass
class Network:
    """Carries requests and their answers; what is done where a request arrives, is done at once."""

    loop: Loop
    """Of the world, which never dies."""
    chance: random.Random
    noise: Noise
    usual_s: float
    cut: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Machines, and the zones that they cannot reach: the store, or the participants."""
    down: dict[str, None] = field(default_factory=dict[str, None])
    """Servers that nobody reaches, in the order of their failing."""
    slow: dict[str, float] = field(default_factory=dict[str, float])
    """By how much more messages from or to a server take, seconds."""
    open: bool = True

    def heal(self) -> None:
        """From now on nothing is wrong."""
        self.noise = QUIET
        self.cut.clear()
        self.down.clear()
        self.slow.clear()

    def ask(self, asker: Loop, to: str, serve: Callable[[], Any], wait_s: float, *, doubles: bool = False) -> Any:
        """A future with what `serve` returns or raises at the server `to`. Outage: nobody knows whether it did.

        With `doubles` a request may arrive twice.
        """
        exchange = Exchange(self, asker, to, serve, wait_s)
        if not self.open:
            exchange.unanswered()
        elif not self._happens(self.noise.lost):
            self.loop.call_later(self.delay(to), exchange.arrive)
            if doubles and self._happens(self.noise.doubled):
                self.loop.call_later(self.chance.uniform(*LATE_S), exchange.arrive)
        return exchange.answer

    def delay(self, server: str) -> float:
        """How long one message takes, seconds."""
        late = self.chance.uniform(*LATE_S) if self._happens(self.noise.late) else 0.0
        return self.chance.uniform(0.0, self.usual_s) + self.slow.get(server, 0.0) + late

    def loses(self) -> bool:
        """Whether an answer is lost."""
        return self._happens(self.noise.lost)

    def reaches(self, machine: str, server: str) -> bool:
        """Whether messages get through between the two."""
        return (machine, STORE if server == STORE else PARTICIPANTS) not in self.cut

    def _happens(self, how_often: float) -> bool:
        return how_often > 0 and self.chance.random() < how_often


class Exchange:
    """One request and its answer."""

    def __init__(self, network: Network, asker: Loop, to: str, serve: Callable[[], Any], wait_s: float) -> None:
        self._network = network
        self._asker = asker
        self._to = to
        self._serve = serve
        self.answer = asker.create_future()
        self._patience = asker.call_later(wait_s, self.unanswered)

    def unanswered(self) -> None:
        """Whoever asked waits no longer."""
        self._settle(None, Outage(f"{self._to} does not answer"))

    def arrive(self) -> None:
        """The request is there; it is served, whether or not anybody still waits."""
        network = self._network
        if not network.reaches(self._asker.machine, self._to):
            return
        value, error = self._served()
        if not network.loses():
            network.loop.call_later(network.delay(self._to), self._deliver, value, error)

    def _served(self) -> tuple[Any, Exception | None]:
        if self._to in self._network.down:
            return None, Outage(f"{self._to} is down")
        try:
            return self._serve(), None
        except Exception as error:  # noqa: BLE001 - it is the answer
            return None, error

    def _deliver(self, value: Any, error: Exception | None) -> None:
        if self._network.reaches(self._asker.machine, self._to):
            self._settle(value, error)

    def _settle(self, value: Any, error: Exception | None) -> None:
        self._patience.cancel()
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(value)
        else:
            self.answer.set_exception(error)
