"""Processes started as containers of the image would be: from its files alone, and by its settings alone."""

import asyncio
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from cli.stack.child import PROBE_SECONDS, READY_SECONDS
from cli.stack.readiness import is_ready
from tests.image.prefix import Prefix


@asynccontextmanager
async def started(
    prefix: Prefix, folder: Path, args: list[str], settings: Mapping[str, str], probe: str
) -> AsyncGenerator[Process]:
    """What `args` start, once the URL `probe` says that it is ready; killed in the end, should it still run.

    Raises AssertionError with its log when it ends instead, and TimeoutError.
    """
    log = folder / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *prefix.command(*args),
            cwd=folder,
            env={**prefix.environment_here, **settings},
            stdout=file,
            stderr=STDOUT,
        )

    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await is_ready(probe):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(PROBE_SECONDS)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def output(prefix: Prefix, folder: Path, *args: str) -> str:
    """What `args` print. Raises AssertionError when they fail."""
    process = await asyncio.create_subprocess_exec(
        *prefix.command(*args), cwd=folder, env=prefix.environment_here, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()
