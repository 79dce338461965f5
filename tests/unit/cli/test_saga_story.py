"""The story of an orchestrated order, from its saga's log."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ensemble.orchestrator.v1.saga_pb2 import Saga, SagaEntry, SagaEntryKind, SagaState

from catalogue import model
from cli.chronicle import Chronicle, Happened, print_chronicle_json
from cli.orchestrated import chronicle

CATALOGUE = model.read()
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def saga(state: str, *entries: tuple[str, str]) -> Chronicle:
    """The chronicle of a saga with these entries (path and kind), one second after the other."""
    made = Saga(saga_id="o-1", workflow="place_order", state=SagaState.Value(f"SAGA_STATE_{state}"))
    made.created_at.FromDatetime(START)
    made.updated_at.FromDatetime(START + timedelta(seconds=len(entries)))
    for second, (path, kind) in enumerate(entries):
        entry = SagaEntry(path=path, kind=SagaEntryKind.Value(f"SAGA_ENTRY_KIND_{kind}"))
        entry.at.FromDatetime(START + timedelta(seconds=second))
        if kind in ("STEP_REFUSED", "UNDO_STUCK"):
            entry.reason, entry.message = "NO_WAY", "there is no way"
        made.entries.append(entry)
    return chronicle(made, CATALOGUE)


def happened(told: Chronicle) -> list[tuple[str, str, float | None]]:
    lines = [line for line in told.lines if isinstance(line, Happened)]
    return [(line.who, line.what, line.took and line.took.total_seconds()) for line in lines]


def test_an_answer_is_told_with_who_gave_it_and_how_long_it_took() -> None:
    told = saga(
        "SUCCEEDED",
        *(("", "STARTED"), ("reserve_stock", "STEP_STARTED"), ("reserve_stock", "STEP_SUCCEEDED"), ("", "ENDED")),
    )

    assert happened(told) == [
        ("orchestrator", "saga started", None),
        ("inventory", "reserve_stock done", 1),
        ("orchestrator", "saga ended", None),
    ]
    assert (told.state, told.awaited, told.ended_at) == ("SUCCEEDED", [], START + timedelta(seconds=4))


def test_an_undo_is_told_with_the_refusal_that_led_to_it() -> None:
    told = saga(
        "UNWOUND",
        *(("reserve_stock", "STEP_STARTED"), ("reserve_stock", "STEP_SUCCEEDED")),
        *(("process_payment", "STEP_STARTED"), ("process_payment", "STEP_REFUSED")),
        *(("reserve_stock", "UNDO_STARTED"), ("reserve_stock", "UNDO_SUCCEEDED")),
    )

    assert happened(told)[1:] == [
        ("payment", "process_payment refused", 1),
        ("inventory", "reserve_stock undone", 1),
    ]
    assert [line.detail for line in told.lines if isinstance(line, Happened)][1] == "NO_WAY: there is no way"


def test_a_call_without_an_answer_is_awaited_since_it_was_made() -> None:
    (line,) = saga("RUNNING", ("", "STARTED"), ("process_payment", "STEP_STARTED")).awaited

    assert (line.who, line.what, line.since) == ("payment", "process_payment", START + timedelta(seconds=1))


def test_a_step_that_is_run_again_is_awaited_since_the_last_call() -> None:
    (line,) = saga(
        "RUNNING",
        *(("send_notification", "STEP_STARTED"), ("send_notification", "STEP_UNKNOWN")),
        ("send_notification", "STEP_STARTED"),
    ).awaited

    assert (line.who, line.since) == ("notification", START + timedelta(seconds=2))


def test_an_undo_that_is_stuck_is_awaited_and_something_is_wrong() -> None:
    told = saga("STUCK", ("reserve_stock", "UNDO_STARTED"), ("reserve_stock", "UNDO_STUCK"))

    (line,) = told.awaited
    assert (line.who, line.wrong, line.why) == ("inventory", True, "NO_WAY: there is no way")
    assert told.ended_at is None


def test_what_is_no_call_of_a_service_is_awaited_of_the_orchestrator() -> None:
    (line,) = saga("RUNNING", ("cool_off", "SLEEP_STARTED")).awaited

    assert (line.who, line.what) == ("orchestrator", "cool_off to be over")


def test_for_programs_what_took_no_time_took_zero_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    told = saga("RUNNING", ("reserve_stock", "STEP_STARTED"), ("reserve_stock", "STEP_SUCCEEDED"))
    at_once = replace(
        told, lines=[replace(line, took=timedelta(0)) for line in told.lines if isinstance(line, Happened)]
    )

    print_chronicle_json(at_once)

    assert [line["took_s"] for line in json.loads(capsys.readouterr().out)["happened"]] == [0]
