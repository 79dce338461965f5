"""Virtual time: each simulated process has an event loop of its own, and one timeline runs them all, in one order.

Nothing waits for real: when nothing is ready, time jumps to what comes next. Because a process is an event loop, it
can die at any await, with nothing of its cleanup run, or stand still for a while.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from contextvars import Context
from typing import Any

Handle = asyncio.Handle


class Timeline:
    """What happens, and when; things at the same time in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stopped = False
        self._coming: list[tuple[float, int, Loop, Handle]] = []
        self._order = itertools.count()

    def put(self, when: float, loop: "Loop", handle: Handle) -> None:
        """`handle` is run by `loop`, not before now."""
        heapq.heappush(self._coming, (max(when, self.now), next(self._order), loop, handle))

    def forget_timers(self) -> None:
        """What was to come later does not happen."""
        self._coming = [each for each in self._coming if not isinstance(each[3], asyncio.TimerHandle)]
        heapq.heapify(self._coming)

    def run(self) -> None:
        """Let things happen until `stopped` is set, or until nothing is to come."""
        outside = asyncio._get_running_loop()
        try:
            while self._coming and not self.stopped:
                self.now, _, loop, handle = heapq.heappop(self._coming)
                loop.step(handle)
        finally:
            asyncio._set_running_loop(outside)


class Loop(asyncio.AbstractEventLoop):
    """The event loop of one process; `failed` is told of exceptions that nobody handles."""

    def __init__(self, timeline: Timeline, name: str, failed: Callable[[BaseException], None]) -> None:
        """`name`: of the machine, and which of its processes: `a.2`."""
        self.name = name
        self.machine = name.partition(".")[0]
        self._timeline = timeline
        self._failed = failed
        self._tasks: list[asyncio.Task[Any]] = []  # a task of a dead process must not be collected, which closes it
        self._held: list[Handle] = []
        self.paused = False
        """Whether it stands still: what is due is held up."""
        self.dead = False
        """Whether it stands still for good."""

    def step(self, handle: Handle) -> None:
        """Run one thing, if the process can."""
        if handle.cancelled():
            return
        if self.paused or self.dead:
            self._held.append(handle)
            return
        asyncio._set_running_loop(self)
        handle._run()

    def go_on(self) -> None:
        """Do what was held up, and go on."""
        held, self._held, self.paused = self._held, [], False
        for handle in held:
            self._timeline.put(self._timeline.now, self, handle)

    def bury(self) -> None:
        """Cancel what is left of a process when the story is over, so that nothing is left to the garbage collector."""
        self.dead = False
        self.go_on()
        for task in self._tasks:
            task.cancel()

    def time(self) -> float:
        return self._timeline.now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Handle:
        handle = Handle(callback, args, self, context)
        self._timeline.put(0.0, self, handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._timeline.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timeline.put(when, self, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is skipped when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if "handle" in context:  # otherwise it is the garbage collector, which has no place in the story
            self._failed(context["exception"])

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self
