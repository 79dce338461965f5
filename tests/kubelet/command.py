"""A command, and what it said."""

import asyncio


class CommandFailed(Exception):
    """It ended with another status than 0."""


async def run(*command: str, told: str = "") -> str:
    """What it prints, told `told` on its standard input. Raises CommandFailed with what it complained of."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        said, complained = await process.communicate(told.encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: {complained.decode(errors='replace').strip()}")
    return said.decode()
