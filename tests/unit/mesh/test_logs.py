"""What a process writes is a line of JSON each, whoever wrote it."""

import json
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from mesh.telemetry import logs

PROGRAM = """
import asyncio, gc, logging, sys, threading, warnings
from mesh.telemetry import logs

class Unraisable:
    def __del__(self):
        raise ValueError("in __del__")

def fail(text):
    secret = "Ada Lovelace"
    raise ValueError(text)

async def nobody_waits():
    task = asyncio.ensure_future(asyncio.to_thread(fail, "in a task"))
    await asyncio.wait({task})

logs.configure("INFO", sys.argv[1])
logs.log.info("ours", saga__id="s1", text="two\\nlines", thing=object())
logging.getLogger("some.library").warning("theirs: %s", "told")
logging.getLogger("some.library").debug("too quiet")
warnings.warn("deprecated")
thread = threading.Thread(target=fail, args=("in a thread",))
thread.start()
thread.join()
asyncio.run(nobody_waits())
gc.collect()
Unraisable()
fail("at the end")
"""


def ran(style: str) -> str:
    """All that the program wrote."""
    command = (sys.executable, "-W", "default", "-c", PROGRAM, style)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603
    assert done.returncode == 1
    return done.stdout


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran("json").splitlines()]


def test_whoever_writes_something_writes_one_line_of_json(lines: list[dict[str, Any]]) -> None:
    first_words = [line["event"].split("\n")[0] for line in lines]

    assert first_words[:2] == ["ours", "theirs: told"]
    assert "UserWarning: deprecated" in first_words[2]
    assert first_words[3:] == ["uncaught", "Task exception was never retrieved", "unraisable", "uncaught"]
    assert all({"level", "timestamp"} <= line.keys() for line in lines)


def test_a_line_of_a_library_says_whose_it_is(lines: list[dict[str, Any]]) -> None:
    assert [line.get("logger") for line in lines[:3]] == [None, "some.library", "py.warnings"]


def test_an_error_that_nobody_caught_is_told_with_its_traceback(lines: list[dict[str, Any]]) -> None:
    told = [line["exception"].splitlines()[-1] for line in lines if "exception" in line]

    texts = ["in a thread", "in a task", "in __del__", "at the end"]
    assert told == [f"ValueError: {text}" for text in texts]


def test_two_underscores_are_the_dot_of_an_attribute(lines: list[dict[str, Any]]) -> None:
    assert lines[0]["saga.id"] == "s1"


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_values(style: str) -> None:
    output = ran(style)

    assert "at the end" in output
    assert "Lovelace" not in output


def test_a_line_bears_its_trace_and_the_words_of_its_story() -> None:
    span = NonRecordingSpan(SpanContext(0xAB, 0xCD, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    token = attach(baggage.set_baggage("order.id", "o1", trace.set_span_in_context(span)))
    try:
        event = logs._add_trace(None, "info", {"event": "rpc"})
    finally:
        detach(token)

    assert event == {"event": "rpc", "order.id": "o1", "trace_id": f"{0xAB:032x}", "span_id": f"{0xCD:016x}"}
