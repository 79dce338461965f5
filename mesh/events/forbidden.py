"""What the broker forbids: it says so by the way, and lets whoever asked wait for an answer that will never come."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog

from mesh.errors import Outage

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.events.forbidden")

VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"')
"""In lower case, as nats-py passes on all errors."""


class Forbidden:
    """Ends the waiting of those who asked by a subject that they have no right to."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Timeout]] = {}

    @asynccontextmanager
    async def ends(self, subject: str) -> AsyncGenerator[None]:
        """Wait for an answer inside. Raises Outage as soon as the broker says that asking is forbidden."""
        waiting = asyncio.timeout(None)
        try:
            async with waiting:
                self._waiting.setdefault(subject.lower(), set()).add(waiting)
                try:
                    yield
                finally:
                    self._done(subject.lower(), waiting)
        except TimeoutError:
            if waiting.expired():
                raise Outage(f"this service has no right to publish to {subject}, says the broker") from None
            raise

    def told(self, error: Exception) -> bool:
        """Whether an error of the broker's was about a missing right. It is logged, and nobody waits any longer."""
        violation = VIOLATION.search(str(error))
        if violation is None:
            return False
        log.error("forbidden", to=violation[1], subject=violation[2])
        for waiting in self._waiting.get(violation[2], ()):
            if not waiting.expired():
                waiting.reschedule(asyncio.get_running_loop().time())
        return True

    def _done(self, subject: str, waiting: asyncio.Timeout) -> None:
        others = self._waiting[subject]
        others.discard(waiting)
        if not others:
            del self._waiting[subject]
