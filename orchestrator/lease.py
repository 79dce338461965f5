"""The lease by which a replica owns sagas: renewed as long as the replica gets on, and held only while that is sure.

Whether a lease is over is for the store's clock to say. The clock of this process is only used to give the lease up
earlier: a replica that was frozen, or cut off, starts nothing more, although its memory says that it owns sagas.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from mesh.errors import Outage
from orchestrator.clock import Clock
from orchestrator.store import LEASE_S

log: structlog.stdlib.BoundLogger = structlog.get_logger("orchestrator.lease")

RENEW_S = 0.5
"""Between two renewals, seconds."""
MARGIN_S = 0.5
"""By how much earlier than the store a replica holds its lease to be over, seconds: clocks run at different rates, and
a call that it starts at the last moment takes its way.
"""
STALL_S = 1.0
"""A replica that has not beaten for so long stands still, and its lease is not renewed."""


class Lease:
    """One incarnation's lease."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = float("-inf")
        self._beat = clock.now()

    def holds(self) -> bool:
        """Whether the lease is certainly not over."""
        return self._clock.now() < self._until

    def beat(self) -> None:
        """The replica gets on."""
        self._beat = self._clock.now()

    def give_up(self) -> None:
        """Others may take it that this replica is gone."""
        self._until = float("-inf")

    async def keep(self, renew: Callable[[], Awaitable[None]], ended: asyncio.Event) -> None:
        """Renew by `renew`, which raises Outage, until `ended`."""
        while not ended.is_set():
            try:
                await self._renewed(renew)
            except Outage as error:
                log.warning("lease_not_renewed", error=str(error))
            except Exception:
                log.exception("lease_not_renewed")
            await self._clock.wait(ended, RENEW_S)

    async def _renewed(self, renew: Callable[[], Awaitable[None]]) -> None:
        asked = self._clock.now()
        if asked - self._beat > STALL_S:
            log.warning("lease_not_renewed", error="the replica stands still", seconds=asked - self._beat)
            return
        await renew()
        self._until = asked + LEASE_S - MARGIN_S
