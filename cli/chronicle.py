"""What happened to an order and what is awaited, however its services work together: for people, and for programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import typer
from rich.text import Text

from cli.output import console, styled, table


@dataclass(frozen=True)
class Happened:
    """Somebody did something."""

    at: datetime
    took: timedelta | None
    """Since what caused it."""
    who: str
    what: str
    detail: str = ""
    event_id: str = ""
    cause: str = ""
    """The id of the event, or of the request, that led to it."""
    wrong: bool = False
    """Whether somebody should look at it."""
    branch: str = ""
    """Drawn before `what`: which line it hangs on."""


@dataclass(frozen=True)
class Awaited:
    """Somebody has yet to do something."""

    who: str
    what: str
    since: datetime
    why: str
    wrong: bool = False
    branch: str = ""


@dataclass(frozen=True)
class Chronicle:
    """All of it. A line is printed below what caused it."""

    order_id: str
    mode: str
    state: str
    outcome: str
    """What came of it, besides the state; empty while nothing has."""
    about: str
    began_at: datetime
    ended_at: datetime | None
    seen_at: datetime
    lines: Sequence[Happened | Awaited]
    not_asked: Sequence[str] = ()

    @property
    def awaited(self) -> list[Awaited]:
        return [line for line in self.lines if isinstance(line, Awaited)]


def print_chronicle(chronicle: Chronicle) -> None:
    """The order and who is awaited first, then line by line."""
    console.print(f"order {chronicle.order_id}  {chronicle.mode}  {chronicle.about}", markup=False)
    console.print(styled(chronicle.state), f"{_lasted(chronicle)} {chronicle.outcome}".rstrip(), markup=False)
    for each in chronicle.awaited:
        so_long = _seconds(chronicle.seen_at - each.since)
        console.print(_marked(f"awaited for {so_long}: {each.who}: {each.what}", each), soft_wrap=True)
    for problem in chronicle.not_asked:
        console.print(Text(f"could not ask for {problem}", style="red"), soft_wrap=True)
    console.print()
    _print_lines(chronicle)


def print_chronicle_json(chronicle: Chronicle) -> None:
    """One object over several lines."""
    happened = [line for line in chronicle.lines if isinstance(line, Happened)]
    typer.echo(
        json.dumps(
            {
                "order_id": chronicle.order_id,
                "mode": chronicle.mode,
                "state": chronicle.state,
                "outcome": chronicle.outcome,
                "began_at": chronicle.began_at.isoformat(),
                "ended_at": chronicle.ended_at and chronicle.ended_at.isoformat(),
                "happened": [_happened(line) for line in happened],
                "awaited": [_awaited(line) for line in chronicle.awaited],
                "not_asked": list(chronicle.not_asked),
            },
            indent=2,
        )
    )


def _happened(line: Happened) -> dict[str, Any]:
    return {
        "at": line.at.isoformat(),
        "took_s": None if line.took is None else line.took.total_seconds(),
        "who": line.who,
        "what": line.what,
        "detail": line.detail,
        "event_id": line.event_id,
        "cause": line.cause,
    }


def _awaited(line: Awaited) -> dict[str, Any]:
    return {"who": line.who, "what": line.what, "since": line.since.isoformat(), "why": line.why}


def _lasted(chronicle: Chronicle) -> str:
    if chronicle.ended_at is None:
        return f"for {_seconds(chronicle.seen_at - chronicle.began_at)} so far"
    return f"after {_seconds(chronicle.ended_at - chronicle.began_at)}"


def _print_lines(chronicle: Chronicle) -> None:
    shown = table("at>", "took>", "who", "what", "")
    for line in chronicle.lines:
        what = _marked(f"{line.branch}{line.what}", line)
        if isinstance(line, Happened):
            at = f"+{_seconds(line.at - chronicle.began_at)}"
            took = _seconds(line.took) if line.took is not None else ""
            shown.add_row(at, took, line.who, what, Text(line.detail))
        else:
            shown.add_row("", f"{_seconds(chronicle.seen_at - line.since)} ...", line.who, what, Text(line.why))
    console.print(shown)


def _marked(text: str, line: Happened | Awaited) -> Text:
    calm = "" if isinstance(line, Happened) else "yellow"
    return Text(text, style="red" if line.wrong else calm)


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.3f} s"
