"""What a saga does side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.log import Action
from orchestrator.outcome import Outcome


@dataclass(frozen=True)
class Wait:
    """Nothing can be done for so many seconds."""

    seconds: float
    parked: bool = False
    """However short it is, the saga is put down for it: only the store can tell that it is over."""


Key: TypeAlias = tuple[type[Action], str]
Act: TypeAlias = Callable[[Action], Awaitable[Outcome | Wait]]

BREATH_S = 0.1
"""A branch that waits for the store's word looks no more often, seconds."""


class Branches:
    """The actions under way, each in a task of its own where there are several."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[Outcome]] = {}
        self._resting: dict[Key, Wait] = {}
        """Those of them that only wait."""
        self._all_rest = asyncio.Event()

    async def first(
        self, actions: Sequence[Action], act: Act, rest: Callable[[float], Awaitable[None]]
    ) -> Outcome | Wait:
        """The first outcome of any of the actions, or how long all of them wait. Raises what one of them raises.

        The others go on meanwhile, each at its own pace; those that are not asked for any more are given up. `rest`
        lets so many seconds pass.
        """
        if len(actions) == 1 and not self._tasks:
            return await act(actions[0])
        wanted = {(type(action), action.path): action for action in actions}
        await self._give_up([key for key in self._tasks if key not in wanted])
        for key, action in wanted.items():
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._branch(key, action, act, rest))
        return await self._first()

    async def end(self) -> None:
        """Give up all of them."""
        await self._give_up(list(self._tasks))

    async def _first(self) -> Outcome | Wait:
        while len(self._resting) < len(self._tasks):
            self._all_rest.clear()
            all_rest = asyncio.create_task(self._all_rest.wait())
            await asyncio.wait([*self._tasks.values(), all_rest], return_when=asyncio.FIRST_COMPLETED)
            all_rest.cancel()
            for key, task in self._tasks.items():
                if task.done():
                    del self._tasks[key]
                    return task.result()
        shortest = min(self._resting.values(), key=lambda wait: wait.seconds)
        await self.end()
        return shortest

    async def _branch(self, key: Key, action: Action, act: Act, rest: Callable[[float], Awaitable[None]]) -> Outcome:
        while isinstance(came := await act(action), Wait):
            self._resting[key] = came
            if len(self._resting) == len(self._tasks):
                self._all_rest.set()
            await rest(max(came.seconds, BREATH_S))
            del self._resting[key]
        return came

    async def _give_up(self, keys: Sequence[Key]) -> None:
        given_up = [self._tasks.pop(key) for key in keys]
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
        for key in keys:
            self._resting.pop(key, None)
