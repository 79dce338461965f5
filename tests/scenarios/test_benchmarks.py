"""`make bench` works; how fast anything is depends on the machine and is not tested."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.own_shop]


async def bench(folder: Path) -> tuple[int | None, str]:
    """The smallest run there is."""
    few = ("--seconds", "1", "--rounds", "1", "--concurrency", "2", "--concurrency", "1", "--waiting", "1000")
    few += ("--kills", "1", "--open", "30")
    command = (sys.executable, "-m", "benchmarks", *few, "--data", str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_run_compares_all_ways_and_keeps_what_it_saw(tmp_path: Path) -> None:
    code, output = await bench(tmp_path)

    assert code == 0, output
    (path,) = (tmp_path / "bench").iterdir()  # the stack that it was measured on is gone
    assert str(path) in output
    report: dict[str, Any] = json.loads(path.read_text())
    assert report["machine"]["cores"] > 0
    assert {"python", "grpcio", "asyncpg"} <= report["versions"].keys()
    assert report["parameters"]["concurrencies"] == [2, 1]
    assert report["traces"]["exports"] > 0
    for comparison in report["orders"]:
        (turn,) = comparison["turns"]
        for way, side in comparison["sides"].items():
            assert turn[way]["latencies_ms"]
            assert side["p99_ms"] >= side["p50_ms"] > 0
        for ratios in ("orchestrated_by_raw", "choreographed_by_orchestrated"):
            rate = comparison[ratios]["rate"]
            assert 0 < rate["least"] <= rate["median"] <= rate["most"]
    assert report["waiting"]["count"] == 1000
    assert report["waiting"]["among"]["start_seconds"] > 0
    assert report["waiting"]["among"]["round"]["latencies_ms"]
    assert [cost["mode"] for cost in report["tracing"]] == ["orchestrated", "choreographed"]
    for cost in report["tracing"]:
        (turn,) = cost["turns"]
        assert all(turn[way]["latencies_ms"] for way in ("off", "sampled", "always"))
        for ratios in ("sampled_by_off", "always_by_off"):
            assert cost[ratios]["rate"]["median"] > 0
    failover = report["failover"]
    assert [len(kill["appended_s"]) > 0 for kill in failover["kills"]] == [True]
    assert not any(failover[fault] for fault in ("lost", "unsound", "not_once", "unbalanced"))
