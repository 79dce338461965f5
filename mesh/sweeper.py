"""Work that is looked for again and again, whatever happened the time before."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from mesh.background import ended
from mesh.errors import Outage

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.sweeper")


@asynccontextmanager
async def swept(every: float, sweep: Callable[[], Awaitable[None]], first: float | None = None) -> AsyncGenerator[None]:
    """Call `sweep` each `every` seconds while open, `first` seconds after the start if that is sooner.

    An error is logged and never ends the sweeping.
    """
    sweeping = asyncio.ensure_future(_sweep(every, sweep, every if first is None else min(first, every)))
    try:
        yield
    finally:
        await ended(sweeping)


async def _sweep(every: float, sweep: Callable[[], Awaitable[None]], first: float) -> None:
    wait = first
    while True:
        await asyncio.sleep(wait)
        wait = every
        try:
            await sweep()
        except Outage as outage:
            log.warning("sweep_waits", error=str(outage))
        except Exception:
            log.exception("sweep_failed")
