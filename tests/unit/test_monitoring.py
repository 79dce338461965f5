"""Alerts and dashboards do not rot: what they ask for is measured, and who is alerted finds what to do."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.documented import Metric, metrics
from tests.documents import ROOT
from tests.monitoring import DASHBOARDS, alerts, all_rules, dashboard, expressions, named

METRICS = metrics().values()
RECORDED = {rule["record"] for rule in all_rules() if "record" in rule}
SERIES = RECORDED.union(*(metric.series for metric in METRICS))
LABELS = frozenset[str]().union(*(metric.labels for metric in METRICS))
RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["What it means", "What to look at", "What to do", "When to worry"]


def title(value: Any) -> str:
    return value.stem if isinstance(value, Path) else str(value.get("alert", value.get("record")))


def test_a_metric_is_known_by_the_name_that_prometheus_gives_it() -> None:
    duration = Metric("rpc.server.call.duration", "histogram", "s", frozenset({"rpc.method"}))

    assert "rpc_server_call_duration_seconds_bucket" in duration.series
    assert "rpc_method" in duration.labels
    assert Metric("ensemble.saga.started", "counter", "{saga}", frozenset()).series == {"ensemble_saga_started_total"}


@pytest.mark.parametrize("rule", all_rules(), ids=title)
def test_a_rule_asks_for_what_is_measured(rule: dict[str, Any]) -> None:
    assert named([rule["expr"]]) - SERIES - LABELS == set()


@pytest.mark.parametrize("path", DASHBOARDS, ids=title)
def test_a_dashboard_asks_for_what_is_measured(path: Path) -> None:
    assert named(expressions(path)) - SERIES - LABELS == set()


def test_every_metric_is_on_a_dashboard() -> None:
    asked = named(each for path in DASHBOARDS for each in [*expressions(path), *(rule["expr"] for rule in all_rules())])

    assert [metric.name for metric in METRICS if not metric.series & asked] == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=title)
def test_a_dashboard_lets_choose_where_its_metrics_are(path: Path) -> None:
    content = dashboard(path)
    panels = [panel for panel in content["panels"] if panel["type"] != "row"]

    assert content["templating"]["list"][0]["type"] == "datasource"
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=title)
def test_every_panel_says_what_it_shows_and_covers_no_other(path: Path) -> None:
    panels = dashboard(path)["panels"]
    covered = [cell for panel in panels for cell in cells(panel["gridPos"])]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert [panel["title"] for panel in panels if panel["type"] != "row" and not panel["description"]] == []
    # What is repeated for each value of a variable is laid out by Grafana, in the rows that it takes up here.
    assert len(set(covered)) == len(covered)


def cells(place: dict[str, int]) -> list[tuple[int, int]]:
    across = range(place["x"], place["x"] + place["w"])
    return [(x, y) for x in across for y in range(place["y"], place["y"] + place["h"])]


def test_dashboards_are_told_apart() -> None:
    assert len({dashboard(path)["uid"] for path in DASHBOARDS}) == len(DASHBOARDS) == 4


@pytest.mark.parametrize("alert", alerts(), ids=title)
def test_an_alert_says_how_bad_it_is_and_leads_to_its_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"


@pytest.mark.parametrize("alert", alerts(), ids=title)
def test_a_runbook_tells_what_it_means_what_to_look_at_and_what_to_do(alert: dict[str, Any]) -> None:
    page = (RUNBOOKS / f"{alert['alert']}.md").read_text()

    assert page.startswith(f"# {alert['alert']}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS
    assert re.search(r"^\$ ensemble |`ensemble ", page, re.MULTILINE)


def test_there_is_no_runbook_without_its_alert() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}

    assert pages == {alert["alert"] for alert in alerts()}
