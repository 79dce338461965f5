"""Tasks in the background, and how they end."""

import asyncio
from contextlib import suppress
from typing import Any

AGAIN = 0.5
"""Seconds after which a cancel that had no effect is repeated."""


async def ended(task: "asyncio.Future[Any]") -> None:
    """Cancel until it has ended; raises what it failed with.

    One cancel may be lost: nats-py swallows those that meet it while it flushes, and so does `asyncio.wait_for`
    before Python 3.12 when they meet the answer.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN)
    with suppress(asyncio.CancelledError):
        await task
