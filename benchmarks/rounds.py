"""The raw chain, the orchestrator and the choreography in turn, on one stack, so that all meet the same machine."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison import Comparison, Turn
from benchmarks.steady import Round
from benchmarks.traced import Traced
from benchmarks.worker import Worker, working
from cli.output import progress
from cli.stack import StackError
from cli.stack.layout import label
from cli.stack.state import State

WARM_UP_SECONDS = 2.0
ROUND_SECONDS_MORE = 60
"""How much longer than its window a round may take, before it is given up."""


@dataclass(frozen=True)
class Clients:
    """Who places the orders, each a process of its own as the orchestrator is one."""

    chain: Worker
    orchestrated: Worker
    choreographed: Worker
    pids: Mapping[str, int]
    """Of the stack's processes, by name."""

    async def turn(self, concurrency: int, seconds: float) -> Turn:
        """One round of each. Raises StackError when one of them fails."""
        return Turn(
            raw=await self.round(self.chain, concurrency, seconds),
            orchestrated=await self.round(self.orchestrated, concurrency, seconds),
            choreographed=await self.round(self.choreographed, concurrency, seconds),
        )

    async def round(self, client: Worker, concurrency: int, seconds: float) -> Round:
        """One round of `client`. Raises StackError when it fails."""
        pids = {**self.pids, "client": client.pid}
        question = {"concurrency": concurrency, "seconds": seconds, "pids": pids}
        seen = Round.model_validate(await client.ask(question, seconds + ROUND_SECONDS_MORE))
        if not seen.latencies_ms:
            raise StackError(f"no order ended within {seconds:g} s; ask for longer rounds with --seconds")
        return seen


@asynccontextmanager
async def clients(traced: Traced, settings: Mapping[str, str] | None = None) -> AsyncGenerator[Clients]:
    """All clients, connected, while open; `settings`: on top of the caller's environment."""
    state = traced.stack.state
    async with AsyncExitStack() as stack:
        chain, orchestrated, choreographed = [
            await stack.enter_async_context(working(f"benchmarks.{way}", _given(state), settings))
            for way in ("chain", "orchestrated", "choreographed")
        ]
        pids = {label(process.name, process.replica): process.pid for process in state.processes}
        yield Clients(chain, orchestrated, choreographed, {**pids, "trace sink": traced.sink.pid})


def _given(state: State) -> dict[str, Any]:
    return {"targets": state.services, "databases": state.postgres}


async def warm_up(clients: Clients, concurrency: int, seconds: float) -> None:
    """A turn that nobody looks at. Raises StackError."""
    progress.print("warming up ...")
    await clients.turn(concurrency, min(seconds, WARM_UP_SECONDS))


async def compare(clients: Clients, concurrencies: list[int], rounds: int, seconds: float) -> list[Comparison]:
    """For each concurrency so many turns. Raises StackError."""
    comparisons: list[Comparison] = []
    for concurrency in concurrencies:
        turns: list[Turn] = []
        for number in range(rounds):
            progress.print(f"{concurrency} at a time, round {number + 1} of {rounds} ...")
            turns.append(await clients.turn(concurrency, seconds))
        comparisons.append(Comparison(concurrency=concurrency, turns=turns))
    return comparisons
