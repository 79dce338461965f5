"""What tracing costs: the same orders in turn on three stacks, which trace no order, one in ten, and every one."""

import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pydantic import BaseModel, computed_field

from benchmarks.comparison import Ratios, Side
from benchmarks.rounds import Clients, clients, warm_up
from benchmarks.steady import Round
from benchmarks.traced import ANSWER_SECONDS, SAMPLED, Traced
from benchmarks.worker import Worker, working
from cli.output import progress
from cli.stack.layout import Layout
from cli.stack.local import Plan, running
from cli.stack.ports import free_port_base
from cli.stack.traces import UNTOLD, Traces
from cli.up import fill_shelves

MODES = ("orchestrated", "choreographed")


class Turn(BaseModel):
    """Three rounds, one right after the other, so that all meet the same machine."""

    off: Round
    sampled: Round
    always: Round


class Cost(BaseModel):
    """What it costs in one mode, with so many orders at a time."""

    mode: str
    concurrency: int
    turns: list[Turn]

    @computed_field
    @property
    def sampled_by_off(self) -> Ratios:
        """As in production."""
        return Ratios.of(self._rounds("sampled"), self._rounds("off"))

    @computed_field
    @property
    def always_by_off(self) -> Ratios:
        """As on a laptop."""
        return Ratios.of(self._rounds("always"), self._rounds("off"))

    @computed_field
    @property
    def sides(self) -> dict[str, Side]:
        """Each way, all its rounds taken together."""
        return {way: Side.of(self._rounds(way)) for way in Turn.model_fields}

    def _rounds(self, way: str) -> list[Round]:
        return [getattr(turn, way) for turn in self.turns]


async def measure(folder: Path, concurrency: int, rounds: int, seconds: float) -> list[Cost]:
    """Both modes. The stacks run below `folder`, which is removed afterwards. Raises StackError."""
    try:
        async with AsyncExitStack() as stack:
            sink = await stack.enter_async_context(working("benchmarks.sink", {}))
            told = await sink.ask({}, ANSWER_SECONDS)
            ways: dict[str, Clients] = {}
            for way, settings in _settings(told["endpoint"]).items():
                ways[way] = await stack.enter_async_context(_ready(folder / way, sink, settings))
                await warm_up(ways[way], concurrency, seconds)
            return [await _cost(ways, mode, concurrency, rounds, seconds) for mode in MODES]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settings(endpoint: str) -> dict[str, dict[str, str]]:
    """What tells a process of each way, whatever the caller's environment says. Metrics are not what is measured."""
    told = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint,
        "OTEL_METRICS_EXPORTER": "none",
    }
    sampled = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(SAMPLED)}
    always = {"OTEL_TRACES_SAMPLER": "parentbased_always_on"}
    return {"off": UNTOLD, "sampled": {**told, **sampled}, "always": {**told, **always}}


@asynccontextmanager
async def _ready(folder: Path, sink: Worker, settings: Mapping[str, str]) -> AsyncGenerator[Clients]:
    """A stack of its own with its clients, all of them with these settings, while open."""
    plan = Plan(folder, Layout(free_port_base()), traces=lambda _layout: Traces(settings=settings))
    async with running(plan, progress.print) as stack:
        await fill_shelves(stack.state)
        async with clients(Traced(stack, sink), settings) as ready:
            yield ready


async def _cost(ways: Mapping[str, Clients], mode: str, concurrency: int, rounds: int, seconds: float) -> Cost:
    turns: list[Turn] = []
    for number in range(rounds):
        progress.print(f"tracing, {mode}, {concurrency} at a time, round {number + 1} of {rounds} ...")
        turn = {way: await each.round(getattr(each, mode), concurrency, seconds) for way, each in ways.items()}
        turns.append(Turn.model_validate(turn))
    return Cost(mode=mode, concurrency=concurrency, turns=turns)
