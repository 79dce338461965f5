"""`python -m benchmarks`: one run, on a stack of its own."""

import shutil
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import failover, report, tracing, waiting
from benchmarks.report import Parameters, Report
from benchmarks.rounds import clients, compare, warm_up
from benchmarks.traced import traced
from cli.client import DEFAULT_DATA
from cli.output import console
from cli.running import run

CONCURRENCIES = [64, 16, 1]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Part(Enum):
    """What can be measured."""

    ORDERS = "orders"
    WAITING = "waiting"
    FAILOVER = "failover"
    TRACING = "tracing"


@app.command()
def main(  # noqa: PLR0913, PLR0917 - an option each
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each round is watched.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Pairs of rounds for each concurrency.")] = 3,
    concurrency: Annotated[
        list[int] | None, typer.Option(min=1, help="Orders at a time; may be repeated. 64, 16 and 1 if not given.")
    ] = None,
    sagas: Annotated[int, typer.Option("--waiting", min=1, help="How many sagas wait in the database.")] = 100_000,
    kills: Annotated[int, typer.Option(min=1, help="How often a replica is killed.")] = 5,
    size: Annotated[int, typer.Option("--open", min=3, help="Orders in flight when one is killed.")] = 500,
    only: Annotated[Part | None, typer.Option(help="Only this; everything if not given.")] = None,
    data: Annotated[Path, typer.Option(metavar="DIR", help="What was measured is kept in DIR/bench.")] = DEFAULT_DATA,
) -> None:
    """Measure both ways against the raw chain, which is the same calls made in turn by a plain client; the orchestrator
    among sagas that wait, and when a replica is killed; and what tracing costs.
    """
    parameters = Parameters(
        seconds=seconds,
        rounds=rounds,
        concurrencies=concurrency or CONCURRENCIES,
        waiting=sagas,
        kills=kills,
        open=size,
        only=only and only.value,
    )
    run(_measured(parameters, data / "bench"))


async def _measured(asked: Parameters, folder: Path) -> None:
    measured = Report(started_at=datetime.now(UTC), parameters=asked)
    home = folder / f"stack-{measured.started_at:%Y%m%dT%H%M%S}"
    if _is_asked(asked, Part.ORDERS, Part.WAITING):
        await _measure_one_replica(measured, home)
    if _is_asked(asked, Part.FAILOVER):
        measured.failover = await failover.measure(home, asked.kills, asked.open, seed=1)
        shutil.rmtree(home)  # not after an error: its logs tell why
    if _is_asked(asked, Part.TRACING):
        most = max(asked.concurrencies)  # where the rate is what the machine can do
        measured.tracing = await tracing.measure(home, most, asked.rounds, asked.seconds)
    path = report.store(measured, folder)
    report.show(measured)
    console.print(f"\nEverything, with every sample: {path}", soft_wrap=True)


def _is_asked(asked: Parameters, *parts: Part) -> bool:
    """Whether one of these is to be measured."""
    return asked.only is None or Part(asked.only) in parts


async def _measure_one_replica(measured: Report, home: Path) -> None:
    asked = measured.parameters
    async with traced(home) as stack, clients(stack) as both:
        await warm_up(both, max(asked.concurrencies), asked.seconds)
        if _is_asked(asked, Part.ORDERS):
            measured.orders = await compare(both, asked.concurrencies, asked.rounds, asked.seconds)
        if _is_asked(asked, Part.WAITING):
            measured.waiting = await waiting.measure(stack, both, asked.seconds, asked.waiting)
        measured.traces = await stack.exports()


if __name__ == "__main__":
    app()
