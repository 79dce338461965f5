"""What a saga does side by side."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.log import Action
from orchestrator.outcome import Outcome


@dataclass(frozen=True)
class Wait:
    """Nothing can be done for so many seconds."""

    seconds: float
    parked: bool = False
    """However short it is, the saga is put down for it: only the store can tell that it is over."""


Act = Callable[[Action], Coroutine[Any, Any, Outcome | Wait]]


class Branches:
    """The actions under way, each in a task of its own where there are several."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[type[Action], str], asyncio.Task[Outcome | Wait]] = {}

    async def first(self, actions: Sequence[Action], act: Act) -> Outcome | Wait:
        """The first outcome of any of the actions, or how long all of them wait. Raises what one of them raises.

        The others go on meanwhile; those that are not asked for any more are given up.
        """
        if len(actions) == 1 and not self._tasks:
            return await act(actions[0])
        keys = [(type(action), action.path) for action in actions]
        await self._give_up([key for key in self._tasks if key not in keys])
        for key, action in zip(keys, actions, strict=True):
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(act(action))
        return await self._first()

    async def end(self) -> None:
        """Give up all of them."""
        await self._give_up(list(self._tasks))

    async def _first(self) -> Outcome | Wait:
        while True:
            results = {key: task.result() for key, task in self._tasks.items() if task.done()}
            for key, result in results.items():
                if isinstance(result, Outcome):
                    del self._tasks[key]
                    return result
            if len(results) == len(self._tasks):
                self._tasks.clear()
                waits = [result for result in results.values() if isinstance(result, Wait)]
                return min(waits, key=lambda wait: wait.seconds)
            running = [task for task in self._tasks.values() if not task.done()]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)

    async def _give_up(self, keys: Sequence[tuple[type[Action], str]]) -> None:
        given_up = [self._tasks.pop(key) for key in keys]
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
