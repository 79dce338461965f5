"""A database full of sagas that wait: what they cost a replica that starts, and the orders that come in meanwhile."""

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import asyncpg
from pydantic import BaseModel

from benchmarks.comparison import ORCHESTRATOR
from benchmarks.rounds import Clients
from benchmarks.steady import Round
from benchmarks.traced import Traced
from benchmarks.victim import Victim
from cli.output import progress
from cli.stack.readiness import is_ready

CONCURRENCY = 64
START_SECONDS = 60
LOOK_SECONDS = 0.02

LAY = """
WITH model AS (
    SELECT * FROM saga WHERE state = 'SUCCEEDED' LIMIT 1
), laid AS (
    INSERT INTO saga (saga_id, workflow, version, input, trace_context, state, epoch, attempts, claimed_at, not_before)
    SELECT gen_random_uuid(), workflow, version, input, trace_context, 'RUNNING', 1, 0, 2, now() + interval '1 day'
    FROM model, generate_series(1, $1::int)
    RETURNING saga_id
)
INSERT INTO saga_log (saga_id, sequence, run, path, kind, payload, reason, message, epoch)
SELECT laid.saga_id, sequence, run, path, kind, payload, reason, message, saga_log.epoch
FROM laid, saga_log JOIN model USING (saga_id) WHERE sequence <= 2
"""
"""Copies of a saga that was run, as they stood after their first append, put down until tomorrow."""


class Seen(BaseModel):
    """A replica that was started, and one round of orders through it."""

    start_seconds: float
    """From the kill of the one before until it was ready."""
    memory_mb: float | None
    """Resident, when it was ready; None where the system does not tell."""
    round: Round


class Waiting(BaseModel):
    """The same without and with waiting sagas."""

    count: int
    without: Seen
    among: Seen


async def measure(traced: Traced, clients: Clients, seconds: float, count: int) -> Waiting:
    """Raises ProcessLookupError where no orchestrator runs. The stack must have run a saga before."""
    progress.print("a new replica, and orders, with no saga waiting ...")
    without = await _seen(traced, clients, seconds)
    progress.print(f"laying down {count} waiting sagas ...")
    await _lay(traced.stack.state.postgres[ORCHESTRATOR], count)
    progress.print("a new replica, and orders, among them ...")
    return Waiting(count=count, without=without, among=await _seen(traced, clients, seconds))


async def _lay(database_url: str, count: int) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(LAY, count)
        await connection.execute("VACUUM (ANALYZE) saga, saga_log")  # not in the middle of what is measured
    finally:
        await connection.close()


async def _seen(traced: Traced, clients: Clients, seconds: float) -> Seen:
    started = time.perf_counter()
    pid = await _restarted(traced)
    start_seconds, memory_mb = time.perf_counter() - started, _memory_mb(pid)
    now = replace(clients, pids={**clients.pids, ORCHESTRATOR: pid})
    return Seen(
        start_seconds=start_seconds, memory_mb=memory_mb, round=await now.round(now.orchestrated, CONCURRENCY, seconds)
    )


async def _restarted(traced: Traced) -> int:
    """Kill the orchestrator; returns the pid of the next one once it is ready."""
    victim = Victim(traced.stack, 0)
    before = victim.pid
    victim.kill()
    async with asyncio.timeout(START_SECONDS):
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = victim.pid
            if now not in (None, before) and await is_ready(f"grpc://{victim.address}"):
                return now


def _memory_mb(pid: int) -> float | None:
    statm = Path(f"/proc/{pid}/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.exists() else None
