"""`python -m tests.kubelet FOLDER`: the overlay `local` until Ctrl-C; FOLDER/ensemble.json says where it is."""

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.k8s.render import rendered
from tests.kubelet.cluster import played


async def play(folder: Path) -> None:
    """Ended in good order by SIGTERM, too."""
    main = asyncio.current_task()
    assert main is not None

    def stop() -> None:
        if not main.cancelling():  # a second one must not interrupt the tidying up
            main.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    with suppress(asyncio.CancelledError):
        async with played(rendered("local"), folder) as cluster:
            await cluster.done()
            cluster.tell()
            print("everything is ready; Ctrl-C ends it", flush=True)  # noqa: T201
            await asyncio.Event().wait()


asyncio.run(play(Path(sys.argv[1])))
