"""Where spans go must not hold up who sends them."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE

import pytest

from mesh.telemetry.export import EXPORT_SECONDS

pytestmark = pytest.mark.integration

FILL_THE_QUEUE_AND_END = """
import time
from opentelemetry import trace
from mesh.telemetry import export

with export.configured("test"):
    for _ in range(2000):
        trace.get_tracer("test").start_span("work").end()
    began = time.monotonic()
print(time.monotonic() - began)
"""


async def test_a_collector_that_is_frozen_does_not_hold_up_the_end_of_a_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        endpoint = f"http://127.0.0.1:{frozen.getsockname()[1]}"
        settings = {**os.environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}
        command = (sys.executable, "-c", FILL_THE_QUEUE_AND_END)
        process = await asyncio.create_subprocess_exec(*command, env=settings, stdout=PIPE)
        out, _ = await process.communicate()

    assert process.returncode == 0
    assert float(out) < 2 * EXPORT_SECONDS
