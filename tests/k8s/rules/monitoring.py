"""Alerts and dashboards reach the cluster as they are in the files, which tests/unit holds to what is measured."""

import json
from collections.abc import Iterator

from tests.k8s.environment import contents
from tests.k8s.manifests import Render
from tests.monitoring import DASHBOARDS, dashboard, rules

CONFIG_MAP = "ensemble-dashboards"


def alerts_are_those_of_the_file(render: Render) -> Iterator[str]:
    for resource in render.of("PrometheusRule"):
        if resource.spec != rules():
            yield f"{resource}: spec is not that of alerts.yaml"


def dashboards_are_those_of_the_files(render: Render) -> Iterator[str]:
    for config in (each for each in render.of("ConfigMap") if each.name.startswith(CONFIG_MAP)):
        files = {path.name: dashboard(path) for path in DASHBOARDS}
        if {name: json.loads(text) for name, text in contents(config).items()} != files:
            yield f"{config}: it is not what is in dashboards/"
