"""A broker of one's own, to take away and bring back."""

import asyncio
import shutil
import sysconfig
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from cli.stack.ports import HOST, free_port_base


class Broker:
    """NATS with JetStream and a store that outlives it; down at first."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._port = free_port_base()
        self._process: Process | None = None
        self.url = f"nats://{HOST}:{self._port}"

    @classmethod
    @asynccontextmanager
    async def open(cls, store: Path) -> AsyncGenerator[Self]:
        """What is up by then is killed in the end."""
        broker = cls(store)
        try:
            yield broker
        finally:
            await broker.kill()

    async def start(self) -> None:
        """Returns before it answers."""
        binary = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or "nats-server"
        options = ("--jetstream", "--store_dir", str(self._store), "--addr", HOST, "--port", str(self._port))
        self._process = await asyncio.create_subprocess_exec(binary, *options, stdout=DEVNULL, stderr=DEVNULL)

    async def kill(self) -> None:
        """As kill -9 does."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None
