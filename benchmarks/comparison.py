"""Rounds of all three, and what follows from them. No I/O."""

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


class Turn(BaseModel):
    """Three rounds, one right after the other, so that all meet the same machine."""

    raw: Round
    orchestrated: Round
    choreographed: Round


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


class Ratios(BaseModel):
    """One way to place orders by another, turn by turn."""

    rate: Spread
    """Orders a second: above 1, this way places more."""
    time: Spread
    """Median time of an order: above 1, this way takes longer."""
    cpu: float | None
    """CPU time of an order, the other way's by this one's: the rate ratio where CPU is the only limit."""

    @classmethod
    def of(cls, these: list[Round], others: list[Round]) -> "Ratios":
        pairs = list(zip(these, others, strict=True))
        cpu, other_cpu = Side.of(these).all_cpu_ms, Side.of(others).all_cpu_ms
        return cls(
            rate=Spread.of(this.rate / other.rate for this, other in pairs),
            time=Spread.of(_median(this) / _median(other) for this, other in pairs),
            cpu=None if cpu is None or other_cpu is None else other_cpu / cpu,
        )


class Comparison(BaseModel):
    """The three ways, so many orders at a time."""

    concurrency: int
    turns: list[Turn]

    @computed_field
    @property
    def orchestrated_by_raw(self) -> Ratios:
        """A rate of 1 would be an orchestrator that costs nothing."""
        return Ratios.of(self._rounds("orchestrated"), self._rounds("raw"))

    @computed_field
    @property
    def choreographed_by_orchestrated(self) -> Ratios:
        """What the choice of the mode is worth."""
        return Ratios.of(self._rounds("choreographed"), self._rounds("orchestrated"))

    @computed_field
    @property
    def sides(self) -> dict[str, Side]:
        """Each way, all its rounds taken together."""
        return {way: Side.of(self._rounds(way)) for way in Turn.model_fields}

    @computed_field
    @property
    def step_ms(self) -> float:
        """What the orchestrator adds to the time of each step."""
        return (self.sides["orchestrated"].p50_ms - self.sides["raw"].p50_ms) / len(STEPS)

    @computed_field
    @property
    def step_cpu_us(self) -> float | None:
        """CPU time that the orchestrator's process uses for each step, in microseconds."""
        cpu = self.sides["orchestrated"].cpu_ms
        return None if cpu is None else cpu[ORCHESTRATOR] * 1000 / len(STEPS)

    def _rounds(self, way: str) -> list[Round]:
        return [getattr(turn, way) for turn in self.turns]


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
