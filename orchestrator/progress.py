"""Whether a replica gets on, which a ping does not tell: how long ago what it should have done by now was due."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from orchestrator.clock import Clock

SICK_AFTER = 5
"""Calls in a row without an answer."""


class Target:
    """A participant as this replica sees it. Its places keep one that hangs from taking up all the others' calls."""

    def __init__(self, places: int) -> None:
        self.places = asyncio.Semaphore(places)
        self._silent = 0

    @property
    def sick(self) -> bool:
        """Whether it answers nobody."""
        return self._silent >= SICK_AFTER

    def answered(self) -> None:
        """It said something."""
        self._silent = 0

    def was_silent(self) -> None:
        """It said nothing."""
        self._silent += 1


class Progress:
    """What is due in this replica, and since when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[object, tuple[float, Target | None]] = {}

    @contextmanager
    def due(self, target: Target | None = None) -> Generator[None]:
        """Something is due until this is left; with a `target`, it needs one of its places."""
        token = object()
        self._due[token] = self._clock.now(), target
        try:
            yield
        finally:
            del self._due[token]

    @property
    def behind_s(self) -> float:
        """For how long the oldest has been due, of what waits for no sick target; seconds."""
        oldest = min((since for since, target in self._due.values() if target is None or not target.sick), default=None)
        return 0.0 if oldest is None else self._clock.now() - oldest
