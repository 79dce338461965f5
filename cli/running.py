"""How every command runs: its coroutine in an event loop, its errors as one line and an exit code."""

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import structlog
import typer

from cli.stack import StackError

REFUSED, USAGE, UNAVAILABLE, INTERRUPTED = 1, 2, 3, 130

EXIT_CODES = (
    "Exit codes: 0 done; 1 refused by the business, not found, or books that do not balance; 2 wrong usage; "
    "3 unavailable, or not final in time; 130 interrupted."
)


class CommandError(Exception):
    """A command cannot do what it was asked to. The message is one line: what was wrong, where, and what to do."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a command to its end. The first Ctrl-C or SIGTERM cancels it; while it tidies up, more are ignored."""
    # What the kit logs is for those who run a service; here what matters is said by an error.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        asyncio.run(_interruptible(main))
    except CommandError as error:
        _fail(str(error), error.exit_code)
    except StackError as error:
        _fail(str(error), UNAVAILABLE)
    except asyncio.CancelledError:
        _fail("interrupted", INTERRUPTED)


async def _interruptible(main: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(main)
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
    await task


def _cancel_once(task: "asyncio.Task[None]") -> None:
    if not task.cancelling():
        task.cancel()


def _fail(message: str, exit_code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(exit_code)
