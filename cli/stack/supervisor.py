"""The children of one stack: started in stages, stopped in reverse."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from cli.stack.child import Child
from cli.stack.program import Program
from cli.stack.state import Process


class Supervisor:
    """Keeps programs running until it is stopped; see Child for `report` and `changed`."""

    def __init__(
        self, logs: Path, *, restart: bool, report: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self._logs = logs
        self._restart = restart
        self._report = report
        self._changed = changed
        self._stages: list[list[Child]] = []

    async def start(self, stage: Sequence[Program]) -> None:
        """Start them side by side; returns once all are ready. Raises StackError when one does not become so."""
        children = [self._child(program) for program in stage]
        self._stages.append(children)
        try:
            async with asyncio.TaskGroup() as group:
                for child in children:
                    group.create_task(child.start())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def stop(self) -> None:
        """Stop the last stage first; returns once every process has ended."""
        for stage in reversed(self._stages):
            await asyncio.gather(*(child.stop() for child in stage))

    @property
    def processes(self) -> list[Process]:
        """Those that run now, in start order."""
        return [
            Process(
                name=child.program.name,
                replica=child.program.replica,
                pid=child.pid,
                address=child.program.address,
            )
            for stage in self._stages
            for child in stage
            if child.pid is not None
        ]

    def _child(self, program: Program) -> Child:
        return Child(program, self._logs, restart=self._restart, report=self._report, changed=self._changed)
