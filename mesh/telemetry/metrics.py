"""Metrics: what the kit counts and times, and gauges, which somebody reads again and again.

Names are OpenTelemetry's where it has any. An attribute is never an id: each has a few values, known beforehand.
Without an exporter nothing is read, and counting costs next to nothing.
"""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Observation
from opentelemetry.sdk.metrics import MeterProvider

from mesh.sweeper import swept

READ_SECONDS = 10.0
"""Between two readings of a gauge."""
SPARING = 50
"""Reading takes one part in so many of the time, at the most."""
FIRST_SECONDS = 2.0
"""Until the first reading: whoever has just started should not be invisible for long."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Bounds of durations, seconds, as OpenTelemetry's conventions have them; the SDK's own are meant for milliseconds."""
STORY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 3600)
"""Bounds of what goes through many hands, and may have to wait; seconds."""
SYSTEM = {"messaging.system": "nats"}
DURABLE = "messaging.consumer.group.name"
TEMPLATE = "messaging.destination.template"

meter = metrics.get_meter("ensemble.mesh")


def timed(name: str, description: str, bounds: Sequence[float] = BUCKETS) -> Histogram:
    """A histogram of durations, seconds."""
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=bounds)


server_duration = timed("rpc.server.call.duration", "Serving a call.")
client_duration = timed("rpc.client.call.duration", "Making a call, with its repeats by the channel.")
process_duration = timed("messaging.process.duration", "Handling one delivery of a fact.")
send_duration = timed("messaging.client.operation.duration", "Sending facts until stored.")
sent_messages = meter.create_counter("messaging.client.sent.messages", "{message}", "Facts that were sent, or not.")


def are_exported() -> bool:
    """Whether there is a point in finding out what is to be counted."""
    return isinstance(metrics.get_meter_provider(), MeterProvider)


def served(method: str, code: str, seconds: float, *, failed: bool) -> None:
    """A call of `package.Service/Method` was answered with a gRPC code. `failed`: it is this server's fault."""
    server_duration.record(seconds, _call(method, code, failed=failed))


def called(method: str, code: str, seconds: float, context: Context) -> None:
    """A call that was made in `context` came to this."""
    client_duration.record(seconds, _call(method, code, failed=code != "OK"), context)


def _call(method: str, code: str, *, failed: bool) -> dict[str, str]:
    attributes = {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": code}
    return {**attributes, "error.type": code} if failed else attributes


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
async def gauged(gauges: Iterable[Gauge], read: Callable[[], Awaitable[Sequence[Reading]]]) -> AsyncGenerator[None]:
    """Read these gauges again and again while open, if metrics are exported. What cannot be read is not reported.

    What takes long to read is read less often.
    """
    if not are_exported():
        yield
        return
    last: Sequence[Reading] = ()
    due = 0.0

    async def look() -> None:
        nonlocal last, due
        began = time.monotonic()
        if began < due:
            return
        try:
            last = await read()
        except Exception:
            last = ()
            raise
        finally:
            ended = time.monotonic()
            due = ended + SPARING * (ended - began)

    observe(gauges, lambda: last)
    async with swept(READ_SECONDS, look, first=FIRST_SECONDS):
        yield
