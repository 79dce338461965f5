"""Several works on one connection, side by side: each asks as if it were alone, the database answers in rounds.

Whatever the works ask at the same time by the same statement goes to the database in one round trip. So ten works cost
little more than one; nothing in them knows of it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


class _How(Enum):
    FIND = "find"
    EXECUTE = "execute"
    FETCH = "fetch"


@dataclass(frozen=True)
class _Asked:
    how: _How
    query: str
    args: tuple[Any, ...]
    answer: asyncio.Future[Any]


class Lockstep:
    """The connection as its works see it. They must be about different keys."""

    def __init__(self, real: Connection) -> None:
        self._real = real
        self._working = 0
        self._asked: list[_Asked] = []
        self._all_wait = asyncio.Event()

    async def run(self, works: Sequence[tuple[Callable[[], Awaitable[None]], Context]]) -> None:
        """Run works, each in its context, to their ends; they await nothing else. Raises what one of them raises."""
        self._working = len(works)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._run(work), context=context) for work, context in works]
        try:
            while self._working:
                await self._all_wait.wait()
                self._all_wait.clear()
                await self._round()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            task.result()

    async def find(self, query: str, *args: Any) -> "asyncpg.Record | None":
        """See the function of this name."""
        return await self._ask(_How.FIND, query, args)

    async def execute(self, query: str, *args: Any) -> None:
        """Like that of a connection, without its status."""
        await self._ask(_How.EXECUTE, query, args)

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Like that of a connection, in a round trip of its own."""
        return await self._ask(_How.FETCH, query, args)

    async def fetchrow(self, query: str, *args: Any) -> "asyncpg.Record | None":
        """Like that of a connection, in a round trip of its own."""
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Like that of a connection, in a round trip of its own."""
        row = await self.fetchrow(query, *args)
        return row[0] if row else None

    async def _ask(self, how: _How, query: str, args: tuple[Any, ...]) -> Any:
        asked = _Asked(how, query, args, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        self._look()
        return await asked.answer

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        finally:
            self._working -= 1
            self._look()

    def _look(self) -> None:
        if len(self._asked) == self._working:
            self._all_wait.set()

    async def _round(self) -> None:
        asked, self._asked = self._asked, []
        alike: dict[tuple[_How, str], list[_Asked]] = defaultdict(list)
        for each in asked:
            alike[each.how, each.query].append(each)
        answers: list[Any] = []
        groups = list(alike.items())
        for (how, query), group in groups:
            # In one sequence, so that no two who want several rows wait for each other.
            group.sort(key=lambda each: str(each.args[0]))
            answers += await self._answers(how, query, [each.args for each in group])
        for each, answer in zip((each for _, group in groups for each in group), answers, strict=True):
            if not each.answer.done():
                each.answer.set_result(answer)

    async def _answers(self, how: _How, query: str, args: list[tuple[Any, ...]]) -> list[Any]:
        match how:
            case _How.FIND:
                rows = {str(row[0]): row for row in await self._real.fetchmany(query, args)}
                answers = [rows.pop(str(each[0]), None) for each in args]
                if rows:
                    raise ValueError(f"not by key, or not about different keys: {query}")
                return answers
            case _How.EXECUTE:
                await self._real.executemany(query, args)
                return [None for _ in args]
            case _How.FETCH:
                return [await self._real.fetch(query, *each) for each in args]


Session: TypeAlias = "Connection | Lockstep"


async def find(connection: Session, query: str, *args: Any) -> "asyncpg.Record | None":
    """The row that a query has for a key, its first argument, which is the row's first column; None if it has none."""
    if isinstance(connection, Lockstep):
        return await connection.find(query, *args)
    return await connection.fetchrow(query, *args)


async def get(connection: Session, query: str, *args: Any) -> asyncpg.Record:
    """The same for a query that always has one."""
    row = await find(connection, query, *args)
    if row is None:
        raise LookupError(f"no row for {args[0]}: {query}")
    return row
