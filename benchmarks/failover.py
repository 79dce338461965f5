"""How long the sagas of a replica stand still when it dies.

Three replicas, so many orders in flight. One replica is killed, again and again; then one is frozen until its sagas
are adopted, and goes on as if nothing had been. All times are the database's: from just before the kill to the first
entry that a later owner adds to the saga's log. An entry is dated when its statement begins, some milliseconds before
its commit; the kill is known to the time that sending it takes.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from statistics import median

from pydantic import BaseModel

from benchmarks.crowd import crowd
from benchmarks.evidence import Epochs, Evidence, Resumed
from benchmarks.victim import Victim
from cli import books
from cli.output import console, table
from cli.stack.layout import Layout
from cli.stack.local import Plan, Stack, running
from cli.stack.ports import free_port_base
from cli.up import fill_shelves

REPLICAS = 3
LOOK_S = 0.05
PATIENCE_S = 60.0
"""How long anything is waited for that should take moments."""
LIMIT_S = 300.0
"""What is still open so long after the last order is lost."""


class Kill(BaseModel):
    """One death, and the sagas that outlived it."""

    replica: int
    sent_s: float
    """How long the kill took to send: so much later it may have been."""
    adopted_s: float
    """Until the last of its sagas was seen to have another owner."""
    appended_s: list[float]
    """Until the next entry of each saga that it left open, by its new owner."""
    moved_s: list[float]
    """Until the next outcome in each. This takes a participant's answer, and a turn to ask for it."""
    waiting: int
    """Sagas that had none when the watching ended."""


class Freeze(BaseModel):
    """One replica that stood still, was taken for dead, and went on."""

    replica: int
    sagas: int
    adopted_s: float
    """Until the last of them had another owner."""
    late_entries: int
    """Entries by the former owner in what was no longer its own."""


class Failover(BaseModel):
    """What was measured. All is well if nothing is lost, and the last three are empty."""

    open: int
    kills: list[Kill]
    freeze: Freeze
    lost: int
    """Sagas that never ended."""
    unsound: list[str]
    """Logs that cannot be."""
    not_once: dict[str, dict[str, int]]
    """Orders for which the outside world did something twice, or nothing."""
    unbalanced: list[str]


async def measure(data: Path, kills: int, size: int, seed: int) -> Failover:
    """Run it below `data`. Raises TimeoutError when the replicas do not do what it waits for."""
    chance = random.Random(seed)  # noqa: S311 - who is killed is no secret
    async with _prepared(data) as (stack, evidence):
        before = await books.read(stack.state)
        async with crowd(stack.state, evidence, size):
            killed = [await _kill(*await _victim(stack, evidence, chance, size), evidence) for _ in range(kills)]
            frozen = await _freeze(*await _victim(stack, evidence, chance, size), evidence)
        lost = await _left(evidence)
        lines = await books.settled(before, lambda: books.read(stack.state))
        return Failover(
            open=size,
            kills=killed,
            freeze=frozen,
            lost=lost,
            unsound=await evidence.unsound(),
            not_once={order_id: dict(done) for order_id, done in (await evidence.not_once()).items()},
            unbalanced=[f"{line.what}: {line.found}, not {line.expected}" for line in lines if not line.balances],
        )


@asynccontextmanager
async def _prepared(data: Path) -> AsyncGenerator[tuple[Stack, Evidence]]:
    plan = Plan(data, Layout(free_port_base(span=100 * REPLICAS), {"orchestrator": REPLICAS}))
    async with AsyncExitStack() as entered:
        stack = await entered.enter_async_context(running(plan, console.print))
        await fill_shelves(stack.state)
        yield stack, await entered.enter_async_context(Evidence.open(stack.state))


async def _victim(stack: Stack, evidence: Evidence, chance: random.Random, size: int) -> tuple[Victim, str]:
    """A replica, and its id: any of those that own at least half of an even share of the sagas."""
    busy: list[tuple[Victim, str]] = []

    async def somebody_is_busy() -> bool:
        for number in range(REPLICAS):
            victim = Victim(stack, number)
            replica_id = await victim.replica_id(evidence)
            if len(await evidence.owned(replica_id)) * 2 * REPLICAS >= size:
                busy.append((victim, replica_id))
        return bool(busy)

    await _until(somebody_is_busy, "a replica has its share of the sagas")
    return chance.choice(busy)


async def _kill(victim: Victim, replica_id: str, evidence: Evidence) -> Kill:
    pid = victim.pid
    owned = await evidence.owned(replica_id)
    killed_at = await evidence.now()
    victim.kill()
    sent_at = await evidence.now()
    adopted_at = await _adopted(evidence, replica_id)
    resumed = await _resumed(evidence, owned)

    async def restarted() -> bool:
        return victim.pid not in (None, pid)

    await _until(restarted, "the killed replica runs again")
    return Kill(
        replica=victim.number,
        sent_s=_seconds(killed_at, sent_at),
        adopted_s=_seconds(killed_at, adopted_at),
        appended_s=sorted(_seconds(killed_at, each.appended_at) for each in resumed if each.appended_at),
        moved_s=sorted(_seconds(killed_at, each.moved_at) for each in resumed if each.moved_at),
        waiting=sum(each.appended_at is None for each in resumed),
    )


async def _freeze(victim: Victim, replica_id: str, evidence: Evidence) -> Freeze:
    with victim.frozen():
        frozen_at = await evidence.now()
        owned = await evidence.owned(replica_id)
        adopted_at = await _adopted(evidence, replica_id)
    await _resumed(evidence, owned)
    return Freeze(
        replica=victim.number,
        sagas=len(owned),
        adopted_s=_seconds(frozen_at, adopted_at),
        late_entries=await evidence.late(owned, adopted_at),
    )


async def _adopted(evidence: Evidence, replica_id: str) -> datetime:
    """When the replica's last saga was seen to have another owner."""

    async def owns_nothing() -> bool:
        return not await evidence.owned(replica_id)

    await _until(owns_nothing, "what the replica owned is adopted")
    return await evidence.now()


async def _resumed(evidence: Evidence, owned: Epochs) -> Sequence[Resumed]:
    """How each of `owned` went on, or has not after PATIENCE_S."""
    clock = asyncio.get_running_loop().time
    end = clock() + PATIENCE_S
    while True:
        resumed = await evidence.resumed(owned)
        if all(each.moved_at for each in resumed) or clock() > end:
            return resumed
        await asyncio.sleep(LOOK_S)


async def _left(evidence: Evidence) -> int:
    """How many sagas are open still when none should be."""
    clock = asyncio.get_running_loop().time
    end = clock() + LIMIT_S
    while (left := await evidence.open_sagas()) and clock() < end:
        await asyncio.sleep(LOOK_S)
    return left


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Raises TimeoutError."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(LOOK_S)
    except TimeoutError as error:
        raise TimeoutError(f"after {PATIENCE_S:.0f} s it is still not so that {what}") from error


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


def show(measured: Failover) -> None:
    """Print a line for each kill, then what logs, ledger and books say afterwards."""
    shown = table(
        "kill>", "replica>", "sagas it left>", "adopted s>", "next entry: p50 s>", "max s>", "outcome: p50 s>", "max s>"
    )
    for number, kill in enumerate(measured.kills, 1):
        shown.add_row(
            str(number),
            str(kill.replica),
            str(len(kill.appended_s) + kill.waiting),
            f"{kill.adopted_s:.2f}",
            *_spread(kill.appended_s, complete=not kill.waiting),
            *_spread(kill.moved_s, complete=len(kill.moved_s) == len(kill.appended_s) + kill.waiting),
        )
    console.print(f"\nFrom kill -9 on, {measured.open} orders in flight, {REPLICAS} replicas\n")
    console.print(shown)
    freeze = measured.freeze
    console.print(
        f"\nOne was frozen: its {freeze.sagas} sagas were adopted within {freeze.adopted_s:.2f} s; "
        f"after that it wrote {freeze.late_entries} entries in them"
    )
    for what in ("lost", "unsound", "not_once", "unbalanced"):
        console.print(f"{what.replace('_', ' ')}: {getattr(measured, what) or 'none'}")


def _spread(seconds: Sequence[float], *, complete: bool) -> tuple[str, str]:
    """Median and maximum."""
    longest = f"{seconds[-1]:.2f}" if complete and seconds else f"over {PATIENCE_S:.0f}"
    return (f"{median(seconds):.2f}" if seconds else "", longest)
