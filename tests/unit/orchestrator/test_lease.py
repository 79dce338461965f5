"""A lease is renewed while the replica gets on, and held only while that is sure; and who gets on is ready."""

import asyncio

import pytest

from mesh.errors import Outage
from orchestrator.lease import MARGIN_S, STALL_S, Lease
from orchestrator.progress import Progress
from orchestrator.store import LEASE_S
from orchestrator.target import Target
from tests.unit.orchestrator.world import VirtualClock


class Renewals:
    """A lease that is kept for some rounds, by a store that may be away."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.lease = Lease(self.clock)
        self.count = 0
        self.away = False

    async def keep(self, rounds: int, *, beating: bool = True) -> None:
        ended = asyncio.Event()
        keeping = asyncio.ensure_future(self.lease.keep(self._renew, ended))
        for _ in range(rounds):
            if beating:
                self.lease.beat()
            await asyncio.sleep(0)
        ended.set()
        await keeping

    async def _renew(self) -> None:
        self.count += 1
        if self.away:
            raise Outage("the store is away")


async def test_a_lease_is_held_from_its_first_renewal_until_a_margin_before_its_end() -> None:
    kept = Renewals()
    assert not kept.lease.holds()

    await kept.keep(1)
    renewed_at = kept.clock.time

    assert kept.lease.holds()
    kept.clock.time = renewed_at + LEASE_S - MARGIN_S
    assert not kept.lease.holds()


async def test_a_replica_that_stands_still_does_not_keep_its_lease() -> None:
    kept = Renewals()
    await kept.keep(1)
    before = kept.count

    kept.clock.time += STALL_S * 2
    await kept.keep(20, beating=False)

    assert kept.count == before
    assert not kept.lease.holds()


async def test_a_lease_outlives_an_outage_that_is_shorter_and_comes_back_after_one_that_is_longer() -> None:
    kept = Renewals()
    await kept.keep(1)

    kept.away = True
    await kept.keep(2)
    held_through_a_short_one = kept.lease.holds()
    await kept.keep(20)
    held_through_a_long_one = kept.lease.holds()
    kept.away = False
    await kept.keep(1)

    assert (held_through_a_short_one, held_through_a_long_one, kept.lease.holds()) == (True, False, True)


async def test_a_lease_that_is_given_up_is_not_held() -> None:
    kept = Renewals()
    await kept.keep(1)

    kept.lease.give_up()

    assert not kept.lease.holds()


def test_who_has_left_something_due_undone_is_behind() -> None:
    clock = VirtualClock()
    progress = Progress(clock)

    with progress.due():
        clock.time += 3
        with progress.due():
            clock.time += 4
            behind_s = progress.behind_s

    assert (behind_s, progress.behind_s) == (7, 0)


@pytest.mark.parametrize(("calls", "behind_s"), [(0, 5), (1, 0)])
async def test_who_waits_for_a_participant_that_is_busy_is_not_behind(calls: int, behind_s: float) -> None:
    clock, target = VirtualClock(), Target()
    progress = Progress(clock)
    for _ in range(calls):
        await target.turn()

    with progress.due(target):
        clock.time += 5

        assert progress.behind_s == behind_s
