"""The query by which KEDA scales the orchestrator, on the orchestrator's own tables."""

import uuid

import pytest

from cli.kubernetes.scaling import BACKLOG
from mesh.postgres.database import Database
from orchestrator.postgres import MIGRATIONS
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

LAY = """
INSERT INTO saga (
    saga_id, workflow, version, input, trace_context, state, owner, epoch, attempts, claimed_at, not_before
)
SELECT gen_random_uuid(), 'w', 'v', '', '{}', $2, $3, 1, 0, 2, now() + make_interval(days => $4)
FROM generate_series(1, $1::int)
"""
OWNER = uuid.uuid4()
KEEP = """
INSERT INTO replica (replica_id, expires_at, session_pid, session_started)
VALUES ($1, now() + interval '1 day', 1, now())
"""


@pytest.mark.parametrize("analyzed", [False, True])
async def test_sagas_in_work_and_due_ones_are_counted_and_the_crowd_that_waits_or_has_ended_is_not_even_read(
    foundations: Foundations, analyzed: bool
) -> None:
    async with (
        Database.open(await foundations.database(), "test", MIGRATIONS) as database,
        database.connection() as connection,
    ):
        await connection.execute(KEEP, OWNER)
        await connection.execute(LAY, 20000, "RUNNING", None, 1)
        await connection.execute(LAY, 20000, "SUCCEEDED", None, -1)
        await connection.execute(LAY, 3, "RUNNING", OWNER, -1)
        await connection.execute(LAY, 2, "UNWINDING", None, -1)
        if analyzed:
            await connection.execute("ANALYZE saga")

        counted = await connection.fetchval(BACKLOG)
        rows = await connection.fetch(f"EXPLAIN (COSTS OFF) {BACKLOG}")

    plan = "\n".join(row[0] for row in rows)
    assert counted == 5
    assert "Seq Scan on saga" not in plan
