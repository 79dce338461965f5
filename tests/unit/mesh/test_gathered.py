"""What is asked for at the same time is done together."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from mesh.postgres.gathered import AT_A_TIME, Gathered


class Doer:
    """Notes what it does; what is bad, fails."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.alone: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def do(self, things: Sequence[str]) -> None:
        await self.go_on.wait()
        if "bad" in things:
            raise ValueError("one of them is bad")
        self.groups.append(list(things))

    async def do_alone(self, thing: str) -> None:
        await self.go_on.wait()
        if thing == "bad":
            raise ValueError("bad")
        self.alone.append(thing)


async def test_the_first_is_done_alone_and_those_that_come_meanwhile_together() -> None:
    doer = Doer()
    gathered = Gathered(doer.do, doer.do_alone)
    doer.go_on.clear()
    first = asyncio.ensure_future(gathered.do("first", key=0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(gathered.do(str(number), key=number)) for number in range(3)]
    doer.go_on.set()
    await asyncio.gather(first, *others)

    assert doer.alone == ["first"]
    assert doer.groups == [["0", "1", "2"]]


async def test_no_two_of_a_group_have_the_same_key_and_they_keep_their_order() -> None:
    doer = Doer()
    gathered = Gathered(doer.do, doer.do_alone)
    await asyncio.gather(*(gathered.do(f"{key}{turn}", key=key) for turn in (1, 2) for key in "ab"))

    assert doer.groups == [["a1", "b1"], ["a2", "b2"]]


async def test_one_that_fails_spoils_it_for_nobody_else() -> None:
    doer = Doer()
    gathered = Gathered(doer.do, doer.do_alone)
    results = await asyncio.gather(
        *(gathered.do(thing, key=thing) for thing in ("good", "bad", "fine")), return_exceptions=True
    )

    assert [type(result) for result in results] == [type(None), ValueError, type(None)]
    assert sorted(doer.alone) == ["fine", "good"]


async def test_there_is_a_limit_to_a_group() -> None:
    doer = Doer()
    gathered = Gathered(doer.do, doer.do_alone)
    await asyncio.gather(*(gathered.do(str(number), key=number) for number in range(AT_A_TIME + 10)))

    assert [len(group) for group in doer.groups] == [AT_A_TIME, 10]


async def test_who_may_wait_is_done_with_whoever_may_not() -> None:
    doer = Doer()
    gathered = Gathered(doer.do, doer.do_alone)
    patient = asyncio.ensure_future(gathered.do("patient", key=1, within=3600))
    await asyncio.sleep(0)
    await gathered.do("urgent", key=2)
    await patient

    assert doer.groups == [["patient", "urgent"]]


async def test_who_may_wait_is_done_in_time_without_company() -> None:
    doer = Doer()
    gathered = Gathered(doer.do, doer.do_alone)
    async with asyncio.timeout(5):
        await gathered.do("patient", key=1, within=0.01)

    assert doer.alone == ["patient"]


async def test_those_who_come_after_all_was_done_are_done_too() -> None:
    doer = Doer()
    gathered = Gathered(doer.do, doer.do_alone)
    for turn in range(3):
        await gathered.do(str(turn), key=0)

    assert doer.alone == ["0", "1", "2"]


async def test_a_failure_reaches_who_asked() -> None:
    doer = Doer()

    with pytest.raises(ValueError, match="bad"):
        await Gathered(doer.do, doer.do_alone).do("bad", key=1)


async def test_what_is_done_together_is_not_in_the_trace_of_who_came_first() -> None:
    trace, traces = ContextVar("trace", default="none"), list[str]()

    async def together(_things: Sequence[str]) -> None:
        traces.append(trace.get())

    gathered = Gathered(together, Doer().do_alone)
    trace.set("of the first")
    await asyncio.gather(*(gathered.do(thing, key=thing) for thing in ("first", "second")))

    assert traces == ["none"]
