"""One program, kept running: started, watched, started again when it dies, and stopped."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cli.stack import StackError, leash
from cli.stack.program import Program
from cli.stack.readiness import is_ready

READY_SECONDS = 60
PROBE_SECONDS = 0.05
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0
"""Seconds between a death and the next start; the delay doubles with each death."""
STEADY_SECONDS = 10
"""A process that lived this long has recovered: its next delay is the first again."""
STILLBORN_DEATHS = 5
"""A program that dies this often before it was ever ready will never be."""
STOP_SECONDS = 15
LOG_LINES_SHOWN = 15


class Child:
    """`report` is told, in a sentence, what a person should know; `changed` is called when the pid has changed."""

    def __init__(
        self,
        program: Program,
        logs: Path,
        *,
        restart: bool,
        report: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.program = program
        self._log = logs / f"{program.label}.log"
        self._restart = restart
        self._report = report
        self._changed = changed
        self._process: Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._was_ready = False
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Returns once it is ready. Raises StackError when it does not become so."""
        self._log.unlink(missing_ok=True)
        self._keeping = asyncio.create_task(self._keep())
        probing = asyncio.create_task(self._until_ready())
        try:
            await asyncio.wait({self._keeping, probing}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if self._keeping.done():
                self._keeping.result()
                raise self._failed("ended before it was ready")
            if not probing.done():
                raise self._failed(f"was not ready within {READY_SECONDS} s")
            probing.result()
        finally:
            probing.cancel()
        self._was_ready = True

    async def stop(self) -> None:
        """Returns once it has ended: by its own will, or after `STOP_SECONDS` by ours."""
        self._stopping = True
        if self._process is not None:
            await self._end(self._process)
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})

    async def _until_ready(self) -> None:
        while True:
            if await is_ready(self.program.probe):
                return
            await asyncio.sleep(PROBE_SECONDS)

    async def _keep(self) -> None:
        delay, deaths, ending = FIRST_DELAY, 0, ""
        clock = asyncio.get_running_loop().time
        while True:
            born = clock()
            ending = await self._live(ending)
            if self._stopping:
                return
            if not self._restart:
                self._report(f"{ending}; it stays down, as --no-restart says")
                return
            deaths += 1
            if deaths == STILLBORN_DEATHS and not self._was_ready:
                raise self._failed(f"died {deaths} times before it was ready")
            delay = FIRST_DELAY if clock() - born > STEADY_SECONDS else delay
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _live(self, last_ending: str) -> str:
        """One life, from start to end; returns how it ended."""
        try:
            process = await self._spawn()
        except OSError as error:
            return f"{self.program.label} could not be started ({error})"
        self._became(process)
        if last_ending:
            self._report(f"{last_ending}; restarted as pid {process.pid}")
        status = await process.wait()
        self._became(None)
        return f"{self.program.label} (pid {process.pid}) {_ending(status)}"

    async def _spawn(self) -> Process:
        program, account = self.program, self.program.account
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *account.command(_leashed(program)),
                env={**_inherited(), **program.settings},
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C on the terminal reaches only us
                user=account.spawn_uid,
                group=account.spawn_gid,
                extra_groups=None if account.spawn_gid is None else [],
            )

    async def _end(self, process: Process) -> None:
        with suppress(ProcessLookupError):  # it may have ended just now, of itself
            process.send_signal(self.program.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                self._report(f"{self.program.label} did not stop within {STOP_SECONDS} s; it is killed")
                process.kill()
        await process.wait()
        self._became(None)

    def _became(self, process: Process | None) -> None:
        self._process = process
        self._changed()

    def _failed(self, what: str) -> StackError:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return StackError("\n".join([f"{self.program.label} {what}; the end of {self._log}:", *lines]))


def _inherited() -> dict[str, str]:
    """The caller's environment, without settings of ours: those of one process would be unknown to another."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ENSEMBLE_")}


def _leashed(program: Program) -> tuple[str, ...]:
    if sys.platform != "linux":
        return program.command
    python = (sys.executable, "-I", "-S", leash.__file__)
    return (*python, str(os.getpid()), str(int(program.stop_signal)), *program.command)


def _ending(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
