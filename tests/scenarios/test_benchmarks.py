"""`make bench` works; how fast anything is depends on the machine and is not tested."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.own_shop, pytest.mark.timeout(300)]

FEW = ("--seconds", "0.5", "--rounds", "1", "--concurrency", "2", "--concurrency", "1", "--waiting", "1000")
FEW += ("--kills", "1", "--open", "30")


@pytest.fixture(scope="module")
async def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the smallest run of everything keeps."""
    folder = tmp_path_factory.mktemp("measured")
    command = (sys.executable, "-m", "benchmarks", *FEW, "--data", str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    printed, _ = await process.communicate()
    output = printed.decode()
    assert process.returncode == 0, output
    assert "Failed" not in output  # what an exporter says of a sink that does not take what it is sent
    (path,) = (folder / "bench").iterdir()  # the stack that it was measured on is gone
    assert str(path) in output
    return json.loads(path.read_text())


async def test_a_run_tells_where_and_with_what_it_was(report: dict[str, Any]) -> None:
    assert report["machine"]["cores"] > 0
    assert {"python", "grpcio", "asyncpg"} <= report["versions"].keys()
    assert report["parameters"]["concurrencies"] == [2, 1]
    assert report["traces"]["exports"] > 0


async def test_all_ways_to_an_order_are_compared(report: dict[str, Any]) -> None:
    assert [comparison["concurrency"] for comparison in report["orders"]] == [2, 1]
    for comparison in report["orders"]:
        (turn,) = comparison["turns"]
        for way, side in comparison["sides"].items():
            assert turn[way]["latencies_ms"]
            assert side["p99_ms"] >= side["p50_ms"] > 0
        for ratios in ("orchestrated_by_raw", "choreographed_by_orchestrated"):
            rate = comparison[ratios]["rate"]
            assert 0 < rate["least"] <= rate["median"] <= rate["most"]


async def test_a_replica_is_started_among_sagas_that_wait(report: dict[str, Any]) -> None:
    waiting = report["waiting"]

    assert waiting["count"] == 1000
    assert waiting["among"]["start_seconds"] > 0
    assert waiting["among"]["round"]["latencies_ms"]


async def test_after_a_failover_every_saga_has_ended_and_the_books_balance(report: dict[str, Any]) -> None:
    failover = report["failover"]

    assert [len(kill["appended_s"]) > 0 for kill in failover["kills"]] == [True]
    assert not any(failover[fault] for fault in ("lost", "unsound", "not_once", "unbalanced"))


async def test_both_ways_are_compared_untraced_sampled_and_traced(report: dict[str, Any]) -> None:
    tracing = report["tracing"]

    assert [cost["mode"] for cost in tracing] == ["orchestrated", "choreographed"]
    for cost in tracing:
        (turn,) = cost["turns"]
        assert all(turn[way]["latencies_ms"] for way in ("off", "sampled", "always"))
        for ratios in ("sampled_by_off", "always_by_off"):
            assert cost[ratios]["rate"]["median"] > 0
