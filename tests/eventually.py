"""Waiting for a condition, never for a time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

LIMIT = 30.0
"""Seconds after which a condition that does not hold is a failure."""


async def eventually(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return once `condition` holds. Raises TimeoutError, naming it, if it does not in time."""
    async with asyncio.timeout(LIMIT):
        while not await _holds(condition):
            await asyncio.sleep(0.01)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    answer = condition()
    return bool(await answer) if inspect.isawaitable(answer) else bool(answer)
