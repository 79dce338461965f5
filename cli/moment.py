"""Moments, as people write them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
WRITTEN = "5m, 2h or 3d ago, or a time as in 2026-03-01T12:00"


def moment(text: str) -> datetime:
    """`5m` is five minutes ago; a time without a zone is local. Raises BadParameter."""
    try:
        if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
            return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is none of {WRITTEN}") from None


Since = Annotated[
    datetime | None, typer.Option("--since", metavar="WHEN", parser=moment, help=f"From then on: {WRITTEN}.")
]
Until = Annotated[datetime | None, typer.Option("--until", metavar="WHEN", parser=moment, help="Up to then.")]
