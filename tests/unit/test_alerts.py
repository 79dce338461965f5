"""The alert rules, judged by Prometheus' own tool."""

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents import ROOT
from tests.monitoring import DASHBOARDS, alerts, expressions, rules

PROMTOOL = shutil.which("promtool")
HISTORIES = ROOT / "tests" / "alerts" / "histories.yaml"

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="needs promtool: apt-get install prometheus, or see .ci/run for how to do without root"
)


async def promtool(*arguments: str | Path) -> None:
    process = await asyncio.create_subprocess_exec("promtool", *arguments, stdout=PIPE, stderr=STDOUT)
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


@needs_promtool
async def test_the_rules_are_rules(tmp_path: Path) -> None:
    await promtool("check", "rules", written(tmp_path / "rules.yaml", rules()))


@needs_promtool
async def test_each_history_sets_off_its_alerts_and_no_others(tmp_path: Path) -> None:
    written(tmp_path / "rules.yaml", rules())

    await promtool("test", "rules", shutil.copy(HISTORIES, tmp_path))


@needs_promtool
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
async def test_prometheus_understands_what_a_dashboard_asks(path: Path, tmp_path: Path) -> None:
    asked = [each.replace("$__rate_interval", "5m") for each in expressions(path) if "label_values" not in each]
    recorded = [{"record": f"panel_{number}", "expr": each} for number, each in enumerate(asked)]

    await promtool(
        "check", "rules", written(tmp_path / "panels.yaml", {"groups": [{"name": "panels", "rules": recorded}]})
    )


def test_every_alert_is_set_off_by_some_history() -> None:
    set_off = set(re.findall(r'alertname="(\w+)"', HISTORIES.read_text()))

    assert {alert["alert"] for alert in alerts()} == set_off


def written(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path
