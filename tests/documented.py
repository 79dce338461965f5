"""The metrics that docs/metrics.md tells of, and what Prometheus calls them."""

import re
from dataclasses import dataclass

from tests.documents import ROOT

DOCUMENT = ROOT / "docs" / "metrics.md"
ROW = re.compile(r"^\| `([a-z._]+)` \| (\w+), ([^ ]+) \| ([^|]+) \|", re.MULTILINE)
SECONDS = {"s": "_seconds"}
SUFFIXES = {"gauge": ("",), "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
ALWAYS = frozenset({"job", "instance", "le"})
"""Labels that Prometheus itself adds."""


@dataclass(frozen=True)
class Metric:
    """One row of its tables."""

    name: str
    kind: str
    unit: str
    attributes: frozenset[str]

    @property
    def series(self) -> set[str]:
        """The names that Prometheus gives it."""
        stem = self.name.replace(".", "_") + SECONDS.get(self.unit, "")
        return {stem + suffix for suffix in SUFFIXES[self.kind]}

    @property
    def labels(self) -> frozenset[str]:
        """What Prometheus can tell its series apart by."""
        return ALWAYS | {attribute.replace(".", "_") for attribute in self.attributes}


def metrics() -> dict[str, Metric]:
    """All of them, by name."""
    rows = ROW.findall(DOCUMENT.read_text())
    found = [Metric(name, kind, unit, frozenset(re.findall(r"`([\w.]+)`", which))) for name, kind, unit, which in rows]
    return {metric.name: metric for metric in found}
