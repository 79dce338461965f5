"""The real Jaeger, version 2, where it is installed: told by OTLP, asked by its own API, everything in memory."""

import json
import shutil
from typing import Any

from cli.stack import StackError
from cli.stack.layout import Layout
from cli.stack.program import Program

MAX_TRACES = 10_000
MEMORY = "memory"
"""The name of its one storage."""

HOW_TO_GET_IT = (
    "there is no `jaeger` on the PATH. Get version 2 in one of these ways: "
    "download a release for this system from https://www.jaegertracing.io/download and put its `jaeger` on the PATH; "
    "or `go install github.com/jaegertracing/jaeger/cmd/jaeger@v1.76.0`, which is v2.13 without its web pages; "
    "or run the container image jaegertracing/jaeger with ports 4317 and 16686 published, and start with "
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:4317 in the environment and "
    "--traces-query http://127.0.0.1:16686 in place of --jaeger"
)


def program(layout: Layout) -> Program:
    """Jaeger on the ports of the layout, and on no others. Raises StackError, saying how to get it, if it is not there.

    It is ready once all its parts are.
    """
    binary = shutil.which("jaeger")
    if binary is None:
        raise StackError(HOW_TO_GET_IT)
    return Program(
        name="jaeger",
        command=(binary, "--config", f"yaml:{json.dumps(_configuration(layout))}"),
        address=layout.address("traces"),
        probe=f"http://{layout.address('jaeger health')}/status",
    )


def _configuration(layout: Layout) -> dict[str, Any]:
    """As JSON, which YAML includes."""

    def endpoint(listener: str) -> dict[str, str]:
        return {"endpoint": layout.address(listener)}

    query = {
        "storage": {"traces": MEMORY},
        "http": endpoint("traces"),
        "grpc": endpoint("jaeger gRPC"),
        "enable_tracing": False,  # of itself
    }
    return {
        "receivers": {"otlp": {"protocols": {"grpc": endpoint("OTLP")}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": MEMORY}},
        "extensions": {
            "jaeger_storage": {"backends": {MEMORY: {"memory": {"max_traces": MAX_TRACES}}}},
            "jaeger_query": query,
            "healthcheckv2": {"use_v2": True, "http": endpoint("jaeger health")},
        },
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},  # the same, on a port of its own
        },
    }
