"""However many sagas wait or have ended, looking for something to do reads none of them."""

import uuid

import pytest

from mesh.postgres.database import Database
from orchestrator import statements
from orchestrator.postgres import MIGRATIONS
from orchestrator.store import LEASE_S, QUARANTINE_AFTER, UNSPACED
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

LAY = """
INSERT INTO saga (saga_id, workflow, version, input, trace_context, state, epoch, attempts, claimed_at, not_before)
SELECT gen_random_uuid(), 'w', $1, '', '{}', $2, 1, 0, 2, now() + make_interval(days => $3)
FROM generate_series(1, 20000)
"""
CROWD = [("deployed", "RUNNING", 1), ("gone", "RUNNING", -1), ("deployed", "SUCCEEDED", -1)]
"""Those that wait until tomorrow, those that are blocked, and those that have ended."""


@pytest.mark.parametrize("analyzed", [False, True])
async def test_a_claim_looks_at_no_saga_that_is_not_to_be_taken_up(foundations: Foundations, analyzed: bool) -> None:
    async with (
        Database.open(await foundations.database(), "test", MIGRATIONS) as database,
        database.connection() as connection,
    ):
        for version, state, days in CROWD:
            await connection.execute(LAY, version, state, days)
        if analyzed:
            await connection.execute("ANALYZE saga")

        arguments = (str(uuid.uuid4()), ["deployed"], 100, LEASE_S, QUARANTINE_AFTER, UNSPACED)
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) {statements.CLAIM}", *arguments)

    plan = "\n".join(row[0] for row in rows)
    assert "Index Scan using saga_waiting" in plan
    assert "Seq Scan on saga " not in plan
    assert "Rows Removed by Filter" not in plan
