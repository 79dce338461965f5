"""A stack of the benchmark's own: what `ensemble up` starts, with traces sampled and exported as in production."""

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.worker import Worker, working
from cli.output import progress
from cli.stack.layout import Layout
from cli.stack.local import Plan, Stack, running
from cli.stack.ports import free_port_base
from cli.up import fill_shelves

SAMPLED = 0.1
"""Share of the orders that are traced; who starts an order decides for all that follows."""
ANSWER_SECONDS = 10


@dataclass(frozen=True)
class Traced:
    """A stack, and where its traces go."""

    stack: Stack
    sink: Worker

    async def exports(self) -> dict[str, int]:
        """How much the sink was sent so far."""
        told = await self.sink.ask({}, ANSWER_SECONDS)
        return {"exports": told["exports"], "bytes": told["bytes"]}


@asynccontextmanager
async def traced(folder: Path) -> AsyncGenerator[Traced]:
    """Run it below `folder`, which is removed afterwards. Raises StackError when it cannot start.

    The settings of OpenTelemetry are put into this process's environment: it passes them on to all that it starts.
    """
    async with working("benchmarks.sink", {}) as sink:
        told = await sink.ask({}, ANSWER_SECONDS)
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = told["endpoint"]
        os.environ["OTEL_TRACES_SAMPLER"] = "parentbased_traceidratio"
        os.environ["OTEL_TRACES_SAMPLER_ARG"] = str(SAMPLED)
        try:
            async with running(Plan(folder, Layout(free_port_base())), progress.print) as stack:
                await fill_shelves(stack.state)
                yield Traced(stack, sink)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
