"""Moments, as people write them."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from cli.moment import moment


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
    ],
)
def test_a_span_is_so_long_ago(text: str, ago: timedelta) -> None:
    assert abs(datetime.now(UTC) - ago - moment(text)) < timedelta(seconds=5)


def test_a_time_with_a_zone_is_that_time() -> None:
    assert moment("2026-03-01T12:00:00+01:00") == datetime(2026, 3, 1, 11, tzinfo=UTC)


def test_a_time_without_a_zone_is_local() -> None:
    assert moment("2026-03-01T12:00") == datetime(2026, 3, 1, 12).astimezone()


@pytest.mark.parametrize("text", ["", "yesterday", "5", "m", "-5m", "5 m", "999999d", "2026-13-01"])
def test_anything_else_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is none of"):
        moment(text)
