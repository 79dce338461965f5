"""A process of the benchmark's own. It is asked by JSON lines, answers so, and ends with the one who asks."""

import asyncio
import gc
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import uvloop

from cli.stack import StackError

Answer = Callable[[Any], Awaitable[Any]]
"""From question to answer, both JSON values."""
Start = Callable[[Any, AsyncExitStack], Awaitable[Answer]]
"""Makes a worker from what it is given; what it needs, it enters into the stack."""

LONGEST_LINE = 1 << 26
END_SECONDS = 10


def run(start: Start) -> None:
    """Be a worker until nobody can ask any more; on uvloop and with a frozen heap, as our services run."""
    uvloop.run(_main(start))


async def _main(start: Start) -> None:
    questions = asyncio.StreamReader(limit=LONGEST_LINE)
    protocol = asyncio.StreamReaderProtocol(questions)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async with AsyncExitStack() as stack:
        answer = await start(json.loads(await questions.readline()), stack)
        gc.freeze()
        while question := await questions.readline():
            sys.stdout.write(json.dumps(await answer(json.loads(question))) + "\n")
            sys.stdout.flush()


class Worker:
    """A worker that runs, as seen by the one who asks."""

    def __init__(self, module: str, process: Process) -> None:
        self._module = module
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, value: Any) -> None:
        """Give it something that it does not answer."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps(value).encode() + b"\n")

    async def ask(self, question: Any, seconds: float) -> Any:
        """Its answer. Raises StackError when there is none within `seconds`, and when it has ended."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        self.tell(question)
        try:
            answer = await asyncio.wait_for(self._process.stdout.readline(), seconds)
        except TimeoutError:
            raise StackError(f"{self._module} did not answer {question} within {seconds:.0f} s") from None
        if not answer:
            raise StackError(f"{self._module} ended before it answered {question}; why, it said above")
        return json.loads(answer)


@asynccontextmanager
async def working(module: str, given: Any, settings: Mapping[str, str] | None = None) -> AsyncGenerator[Worker]:
    """The worker that is the program `module`, running while open; `settings`: on top of the caller's environment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        stdin=PIPE,
        stdout=PIPE,
        limit=LONGEST_LINE,
        start_new_session=True,  # a Ctrl-C on the terminal reaches only us
        env={**os.environ, **(settings or {})},
    )
    worker = Worker(module, process)
    try:
        worker.tell(given)
        yield worker
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), END_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
