"""Rounds of both, and what follows from them. No I/O."""

import statistics
from collections.abc import Iterable

from pydantic import BaseModel, computed_field

from benchmarks.chain import STEPS
from benchmarks.cpu import REST
from benchmarks.steady import Round

ORCHESTRATOR = "orchestrator"


class Spread(BaseModel):
    """A figure that was measured several times."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> "Spread":
        known = sorted(figures)
        return cls(median=statistics.median(known), least=known[0], most=known[-1])


class Pair(BaseModel):
    """Two rounds, one right after the other, so that both meet the same machine."""

    raw: Round
    orchestrated: Round


class Side(BaseModel):
    """One way to place orders, all its rounds taken together. Times are of one order."""

    rate: float
    """Orders a second."""
    p50_ms: float
    p99_ms: float
    cpu_ms: dict[str, float] | None
    """CPU time by process, the client's own included; None where the system does not tell."""

    @property
    def all_cpu_ms(self) -> float | None:
        """CPU time of all processes that have to do with it."""
        return None if self.cpu_ms is None else sum(self.cpu_ms.values()) - self.cpu_ms[REST]

    @classmethod
    def of(cls, rounds: list[Round]) -> "Side":
        latencies = sorted(each for one in rounds for each in one.latencies_ms)
        return cls(
            rate=len(latencies) / sum(one.seconds for one in rounds),
            p50_ms=percentile(latencies, 50),
            p99_ms=percentile(latencies, 99),
            cpu_ms=_cpu_ms(rounds, len(latencies)),
        )


class Comparison(BaseModel):
    """The orchestrator against the raw chain, so many orders at a time."""

    concurrency: int
    pairs: list[Pair]

    @computed_field
    @property
    def rate_ratio(self) -> Spread:
        """Orders a second, orchestrated by raw: 1 would be an orchestrator that costs nothing."""
        return Spread.of(pair.orchestrated.rate / pair.raw.rate for pair in self.pairs)

    @computed_field
    @property
    def time_ratio(self) -> Spread:
        """Median time of an order, orchestrated by raw."""
        return Spread.of(_median(pair.orchestrated) / _median(pair.raw) for pair in self.pairs)

    @computed_field
    @property
    def cpu_ratio(self) -> float | None:
        """CPU time of an order, raw by orchestrated: the rate ratio where CPU is the only limit."""
        raw, orchestrated = self.raw.all_cpu_ms, self.orchestrated.all_cpu_ms
        return None if raw is None or orchestrated is None else raw / orchestrated

    @computed_field
    @property
    def raw(self) -> Side:
        return Side.of([pair.raw for pair in self.pairs])

    @computed_field
    @property
    def orchestrated(self) -> Side:
        return Side.of([pair.orchestrated for pair in self.pairs])

    @computed_field
    @property
    def step_ms(self) -> float:
        """What the orchestrator adds to the time of each step."""
        return (self.orchestrated.p50_ms - self.raw.p50_ms) / len(STEPS)

    @computed_field
    @property
    def step_cpu_us(self) -> float | None:
        """CPU time that the orchestrator's process uses for each step, in microseconds."""
        cpu = self.orchestrated.cpu_ms
        return None if cpu is None else cpu[ORCHESTRATOR] * 1000 / len(STEPS)


def percentile(ordered: list[float], percent: int) -> float:
    """The smallest of the ordered values that `percent` of them do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _median(one: Round) -> float:
    return percentile(sorted(one.latencies_ms), 50)


def _cpu_ms(rounds: list[Round], orders: int) -> dict[str, float] | None:
    known = [one.cpu_seconds for one in rounds if one.cpu_seconds is not None]
    if len(known) < len(rounds):
        return None
    return {name: sum(each[name] for each in known) * 1000 / orders for name in known[0]}
