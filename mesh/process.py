"""The life cycle of a process: start, be ready, drain on SIGTERM, stop in reverse order."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

import structlog

from mesh.background import ended
from mesh.settings import Settings, load
from mesh.telemetry import export, logs

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.process")

S = TypeVar("S", bound=Settings)


def run(name: str, settings_class: type[S], start: Callable[[S, AsyncExitStack], Awaitable[None]]) -> None:
    """Run one process until SIGTERM or SIGINT.

    `start` enters what the process is made of into the stack, foundations first. A signal unwinds the stack,
    so the doors, entered last, close first, and the database, entered first, closes last.
    """
    logs.configure()  # until the settings say how
    settings = load(settings_class)
    logs.configure(settings.log_level, settings.log_format)
    main = _main(name, settings, start)
    if sys.platform == "win32":
        asyncio.run(main)
    else:
        import uvloop  # noqa: PLC0415 - does not exist on Windows

        uvloop.run(main)


async def _main(name: str, settings: S, start: Callable[[S, AsyncExitStack], Awaitable[None]]) -> None:
    stop = _stop_signal()
    async with AsyncExitStack() as stack:
        stack.enter_context(export.configured(name))
        starting = asyncio.ensure_future(start(settings, stack))
        await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            await ended(starting)
            return
        starting.result()
        gc.freeze()  # what lives from start to end need not be scanned again
        log.info("ready", process=name)
        await stop
        log.info("draining", process=name)
    log.info("stopped", process=name)


def _stop_signal() -> "asyncio.Future[None]":
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def on_signal() -> None:
        if not stop.done():
            stop.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop
