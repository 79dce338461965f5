"""The alert rules and the dashboards, as files."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tests.documents import ROOT

MONITORING = ROOT / "k8s" / "components" / "monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
NAME = re.compile(r"\b(?:rpc|messaging|ensemble|saga|shop|error|service)[_:][a-z0-9_:]+")
"""What an expression names: metrics, recorded ones included, and labels."""


def rules() -> dict[str, Any]:
    """What Prometheus itself reads: the manifest without its wrapping."""
    return yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]


def all_rules() -> list[dict[str, Any]]:
    """The rules of all groups."""
    return [rule for group in rules()["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Those that alert."""
    return [rule for rule in all_rules() if "alert" in rule]


def dashboard(path: Path) -> dict[str, Any]:
    """One dashboard."""
    return json.loads(path.read_text())


def expressions(path: Path) -> list[str]:
    """What a dashboard asks Prometheus, its variables included."""
    content = dashboard(path)
    variables = [each["query"] for each in content["templating"]["list"] if each["type"] == "query"]
    return variables + [target["expr"] for panel in content["panels"] for target in panel.get("targets", [])]


def named(asked: Iterable[str]) -> set[str]:
    """Metrics and labels that these expressions name; what stands in quotes is a value."""
    return {name for each in asked for name in NAME.findall(re.sub(r'"[^"]*"', '""', each))}
