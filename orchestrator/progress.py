"""Whether a replica gets on, which a ping does not tell: how long ago what it should have done by now was due."""

from collections.abc import Generator
from contextlib import contextmanager

from orchestrator.clock import Clock
from orchestrator.target import Target


class Progress:
    """What is due in this replica, and since when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[object, tuple[float, Target | None]] = {}

    @contextmanager
    def due(self, target: Target | None = None) -> Generator[None]:
        """Something is due until this is left; with a `target`, it waits for its turn there."""
        token = object()
        self._due[token] = self._clock.now(), target
        try:
            yield
        finally:
            del self._due[token]

    @property
    def behind_s(self) -> float:
        """For how long the oldest has been due, of what waits for nobody else; seconds."""
        oldest = min((since for since, target in self._due.values() if target is None or not target.busy), default=None)
        return 0.0 if oldest is None else self._clock.now() - oldest
