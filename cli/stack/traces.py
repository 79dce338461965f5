"""Where a stack's traces go, and where they are asked for."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from cli.stack import jaeger
from cli.stack.layout import Layout
from cli.stack.program import Program, environment, python

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own variables, the one that wins first."""
DELAY, DELAY_MS = "OTEL_BSP_SCHEDULE_DELAY", "500"
"""How long a process gathers spans before it sends them: what it has gathered is lost when it is killed."""
UNTOLD = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}


@dataclass(frozen=True)
class Traces:
    """The place of one stack's traces."""

    endpoint: str | None = None
    """Where they are sent by OTLP over gRPC."""
    query: str | None = None
    """The base URL of Jaeger's query API, for whoever looks at them."""
    program: Program | None = None
    """Who listens there, if the stack has to start it."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """What tells the processes of the stack about it."""


Choice = Callable[[Layout], Traces]
"""Raises StackError when it cannot be had."""


def chosen(*, with_jaeger: bool, wanted: bool, query: str | None) -> Choice:
    """What the options of `ensemble up` ask for; our collector, if they and the environment name nobody.

    Raises ValueError for options that contradict each other.
    """
    inherited = _inherited() if wanted and not with_jaeger else None
    if query and not inherited:
        raise ValueError(f"a traces query URL is for traces that {ENDPOINTS[1]} sends somewhere")
    if with_jaeger and not wanted:
        raise ValueError("there is no Jaeger without traces")
    if with_jaeger:
        return to_jaeger
    if inherited:
        return partial(as_inherited, query=query)
    return to_collector if wanted else nowhere


def as_inherited(_layout: Layout, query: str | None = None) -> Traces:
    """Where the caller's environment says, if it does. `query` is where they can be asked for there, if they can."""
    return Traces(_inherited(), query)


def to_collector(layout: Layout) -> Traces:
    """To our own collector."""
    settings = environment({"OTLP_LISTEN": layout.address("OTLP"), "QUERY_LISTEN": layout.address("traces")})
    program = Program(
        name="collector",
        command=python("collector"),
        address=layout.address("traces"),
        probe=f"http://{layout.address('traces')}/health",
        settings={**settings, **UNTOLD},
    )
    return _to(program, layout)


def to_jaeger(layout: Layout) -> Traces:
    """To the real Jaeger, started beside everything else."""
    return _to(jaeger.program(layout), layout)


def nowhere(_layout: Layout) -> Traces:
    """There are none, whatever the caller's environment says."""
    return Traces(settings={"OTEL_TRACES_EXPORTER": "none"})


def _inherited() -> str | None:
    return next(filter(None, map(os.environ.get, ENDPOINTS)), None)


def _to(program: Program, layout: Layout) -> Traces:
    """The endpoint is for traces alone: metrics go on to where the caller's environment says."""
    endpoint = f"http://{layout.address('OTLP')}"
    settings = {ENDPOINTS[0]: endpoint, DELAY: os.environ.get(DELAY, DELAY_MS)}
    return Traces(endpoint, f"http://{program.address}", program, settings)
