"""`python -m tests.kubelet FOLDER`: the overlay `local` until Ctrl-C; FOLDER/ensemble.json says where it is."""

import asyncio
import sys
from pathlib import Path

from tests.k8s.render import rendered
from tests.kubelet.cluster import played


async def play(folder: Path) -> None:
    async with played(rendered("local"), folder) as cluster:
        await cluster.done()
        cluster.tell()
        print("everything is ready; Ctrl-C ends it")  # noqa: T201
        await asyncio.Event().wait()


asyncio.run(play(Path(sys.argv[1])))
