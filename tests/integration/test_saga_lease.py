"""The lease has a thread of its own: a busy loop does not lose it, and a loop that stands still does not keep it."""

import time
import uuid

import asyncpg
import pytest

from mesh.postgres.database import Database
from orchestrator.clock import MonotonicClock
from orchestrator.lease import STALL_S
from orchestrator.postgres import MIGRATIONS
from orchestrator.postgres_lease import PostgresLease
from orchestrator.store import LEASE_S
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

IS_OVER = "SELECT expires_at <= clock_timestamp() FROM replica WHERE replica_id = $1"


@pytest.mark.parametrize("beating", [True, False])
async def test_a_loop_that_is_blocked_keeps_its_lease_only_as_long_as_it_beats(
    foundations: Foundations, beating: bool
) -> None:
    url, replica_id = await foundations.database(), str(uuid.uuid4())
    async with Database.open(url, "test", MIGRATIONS), PostgresLease(url, replica_id, MonotonicClock()).kept() as lease:
        connection = await asyncpg.connect(url)
        blocked_until = time.monotonic() + LEASE_S + 2 * STALL_S
        while time.monotonic() < blocked_until:
            if beating:
                lease.beat()
            time.sleep(STALL_S / 10)  # noqa: ASYNC251 - nothing else runs on this loop meanwhile
        is_over = await connection.fetchval(IS_OVER, replica_id)
        held = lease.holds()
        await connection.close()

    assert (is_over, held) == (not beating, beating)
