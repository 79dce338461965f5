"""A concurrency limiter for each participant: how many calls it can take at once, and whether it is well."""

import asyncio
from collections import deque

FIRST = 16.0
MOST = 64.0
"""Calls in flight to one participant, at the beginning and at the most."""
LESS = 0.75
"""What is left of the limit after a call without an answer."""
SICK_AFTER = 5
"""Calls in a row without an answer."""


class Sick(Exception):
    """The participant answers nobody, and somebody is asking it already."""


class Target:
    """Calls wait here for their turn, and not in the participant, where they would run into their deadlines.

    The limit finds itself as TCP's does: it grows slowly while answers come, and shrinks fast when they do not (AIMD,
    RFC 5681). So one that does not answer is asked by a single call at a time, until it does again.
    """

    def __init__(self) -> None:
        self._limit = FIRST
        self._in_flight = 0
        self._silent = 0
        self._turns: deque[asyncio.Future[None]] = deque()

    @property
    def sick(self) -> bool:
        """Whether it answers nobody."""
        return self._silent >= SICK_AFTER

    @property
    def busy(self) -> bool:
        """Whether an answer of it is awaited: who waits for a turn then, waits for the participant."""
        return self._in_flight > 0

    def answered(self) -> None:
        """It said something."""
        self._silent = 0
        if self._in_flight >= int(self._limit):
            self._limit = min(self._limit + 1 / self._limit, MOST)

    def was_silent(self) -> None:
        """It said nothing."""
        self._silent += 1
        self._limit = max(self._limit * LESS, 1.0)

    async def turn(self) -> None:
        """Wait until a call may be made; `turn_over` ends it. Raises Sick."""
        if self._in_flight < int(self._limit):
            self._in_flight += 1
            return
        if self.sick:
            raise Sick
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.turn_over()  # it came at the same moment
            raise

    def turn_over(self) -> None:
        """The call has ended: whoever is next may call. Nobody waits for one that has fallen sick."""
        self._in_flight -= 1
        while self._turns and (self.sick or self._in_flight < int(self._limit)):
            turn = self._turns.popleft()
            if turn.done():
                continue
            if self._in_flight < int(self._limit):
                self._in_flight += 1
                turn.set_result(None)
            else:
                turn.set_exception(Sick())
