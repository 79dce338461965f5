"""Metrics: what the kit counts and times, and gauges, which somebody reads again and again.

Names are OpenTelemetry's where it has any. An attribute is never an id: each has a few values, known beforehand.
Without an exporter nothing is read, and counting costs next to nothing.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from mesh.sweeper import swept
from mesh.telemetry import export

READ_SECONDS = 10.0
"""Between two readings of a gauge."""
SYSTEM = {"messaging.system": "nats"}
DURABLE = "messaging.consumer.group.name"
TEMPLATE = "messaging.destination.template"

meter = metrics.get_meter("ensemble.mesh")
process_duration = meter.create_histogram("messaging.process.duration", "s", "Handling one delivery of a fact.")
send_duration = meter.create_histogram("messaging.client.operation.duration", "s", "Sending facts until stored.")
sent_messages = meter.create_counter("messaging.client.sent.messages", "{message}", "Facts that were sent, or not.")


def processed(durable: str, template: str, outcome: str, seconds: float, error: Exception | None = None) -> None:
    """A durable was given a fact, and this came of it. `template` is the fact's subject with `*` for its key."""
    attributes = {
        **SYSTEM,
        "messaging.operation.name": "process",
        DURABLE: durable,
        TEMPLATE: template,
        "ensemble.outcome": outcome,
        **_error(error),
    }
    process_duration.record(seconds, attributes)


def sent(subjects: Iterable[str], seconds: float, error: Exception | None = None) -> None:
    """Facts were sent together, and stored; or they were not, because of `error`."""
    operation = {**SYSTEM, "messaging.operation.name": "send", **_error(error)}
    send_duration.record(seconds, operation)
    for template, count in Counter(f"{subject.rpartition('.')[0]}.*" for subject in subjects).items():
        sent_messages.add(count, {**operation, TEMPLATE: template})


def _error(error: Exception | None) -> dict[str, str]:
    return {"error.type": type(error).__name__} if error else {}


@dataclass(frozen=True)
class Gauge:
    """Something that is read, in a unit as UCUM writes it.

    Replicas that read the same report the same: take the maximum over them, never the sum.
    """

    name: str
    unit: str
    description: str


@dataclass(frozen=True)
class Reading:
    """What a gauge showed."""

    gauge: Gauge
    value: float
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


def observe(gauges: Iterable[Gauge], last: Callable[[], Iterable[Reading]]) -> None:
    """Report, whenever metrics are exported, what these gauges have shown last."""
    for gauge in gauges:

        def observations(_options: CallbackOptions, gauge: Gauge = gauge) -> list[Observation]:
            return [Observation(each.value, each.attributes) for each in last() if each.gauge == gauge]

        meter.create_observable_gauge(gauge.name, [observations], gauge.unit, gauge.description)


@asynccontextmanager
async def gauged(
    gauges: Iterable[Gauge], read: Callable[[], Awaitable[Sequence[Reading]]], every: float = READ_SECONDS
) -> AsyncGenerator[None]:
    """Read these gauges again and again while open, if metrics are exported. What cannot be read is not reported."""
    if not export.exports("METRICS"):
        yield
        return
    last: Sequence[Reading] = ()

    async def look() -> None:
        nonlocal last
        try:
            last = await read()
        except Exception:
            last = ()
            raise

    observe(gauges, lambda: last)
    async with swept(every, look):
        yield
