"""One round: so many orders under way all the time, watched through a window."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from pydantic import BaseModel

from benchmarks import cpu


class Round(BaseModel):
    """What was seen in one window."""

    seconds: float
    latencies_ms: list[float]
    """Of the orders that ended in the window, as their client saw them."""
    cpu_seconds: dict[str, float] | None
    """What each process used in the window; None where the system does not tell."""

    @property
    def rate(self) -> float:
        """Orders a second."""
        return len(self.latencies_ms) / self.seconds


async def steady(
    place: Callable[[], Awaitable[None]], concurrency: int, seconds: float, pids: Mapping[str, int]
) -> Round:
    """Keep `concurrency` orders under way; `place` takes one to its end.

    The window opens once each of them has been followed by a second one, so that neither the start nor the end of the
    load is in it. Raises ExceptionGroup with whatever `place` raises.
    """
    latencies_ms: list[float] = []
    warm = [asyncio.Event() for _ in range(concurrency)]
    over = asyncio.Event()

    async def one_after_the_other(first_ended: asyncio.Event) -> None:
        while not over.is_set():
            started = time.perf_counter()
            await place()
            latencies_ms.append((time.perf_counter() - started) * 1000)
            first_ended.set()

    async with asyncio.TaskGroup() as group:
        for first_ended in warm:
            group.create_task(one_after_the_other(first_ended))
        for first_ended in warm:
            await first_ended.wait()
        latencies_ms.clear()
        opened, before = time.perf_counter(), cpu.used(pids)
        await asyncio.sleep(seconds)
        after, closed = cpu.used(pids), time.perf_counter()
        seen = list(latencies_ms)
        over.set()
    return Round(seconds=closed - opened, latencies_ms=seen, cpu_seconds=_between(before, after))


def _between(before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> dict[str, float] | None:
    if before is None or after is None:
        return None
    return {name: after[name] - before[name] for name in after}
