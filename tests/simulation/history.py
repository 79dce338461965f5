"""What happened in a run: who, when in virtual time, what."""

import hashlib
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog
from structlog.typing import EventDict, WrappedLogger

Line = tuple[float, str, str]


class History:
    """The lines of a story, in order, and what in it must not have happened."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.lines: list[Line] = []
        self.violations: list[str] = []
        self.closed = False

    def note(self, who: str, what: str) -> None:
        """`who` did or met `what`, now."""
        if not self.closed:
            self.lines.append((self._now(), who, what))

    def violated(self, what: str) -> None:
        """An invariant does not hold."""
        if not self.closed:
            self.violations.append(what)
        self.note("INVARIANT", what)

    def digest(self) -> str:
        """Equal for two runs only if they were the same, to the last line."""
        return hashlib.sha256("\n".join(map(repr, self.lines)).encode()).hexdigest()

    def __str__(self) -> str:
        return "\n".join(f"{when:9.4f}  {who:<10} {what}" for when, who, what in self.lines)

    @contextmanager
    def logged(self, speaker: Callable[[], str]) -> Generator[None]:
        """What replicas log is part of the story; an exception that they log is nothing that a fault explains."""

        def told(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
            words = " ".join(f"{key}={value}" for key, value in event.items() if key not in ("event", "exc_info"))
            if event.get("exc_info"):
                self.violated(f"{speaker()} met an unexpected error: {sys.exc_info()[1]!r}, {event['event']} {words}")
            else:
                self.note(speaker(), f"{event['event']} {words}")
            raise structlog.DropEvent

        before = structlog.get_config()
        structlog.configure(processors=[told], cache_logger_on_first_use=False)
        try:
            yield
        finally:
            structlog.configure(**before)
