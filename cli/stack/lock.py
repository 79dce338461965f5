"""One stack per data directory."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cli.stack import StackError


@contextmanager
def held(data: Path) -> Generator[None]:
    """Hold `data` alone while open. Raises StackError naming the pid of the process that holds it already.

    The kernel gives the lock back when the process ends, however it ends.
    """
    import fcntl  # noqa: PLC0415 - does not exist on Windows

    with (data / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StackError(
                f"{data} is in use by the stack of process {file.read()}; stop it, or choose another --data"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
