"""Traces that scenarios are expected to leave: drawn trees, a file each, that a run is compared with.

TRACES=rewrite writes the files anew, once everything has stopped and nothing can be added any more.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from tests.eventually import eventually
from tests.flaws import flaws
from tests.lost import Lost, mended
from tests.read_back import read_back
from tests.spans import Collector, Span
from tests.traces_kept import Keeper
from tests.trees import drawn

FOLDER = Path(__file__).parent / "traces"
REWRITES = os.environ.get("TRACES") == "rewrite"


@dataclass(frozen=True)
class Told:
    """An order whose trace was looked at."""

    order_id: str
    expected: Path
    lost: Sequence[Lost]


class Traces:
    """The traces of orders, and what each is expected to be."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self._told: list[Told] = []

    async def expect(self, name: str, order_id: str, lost: Sequence[Lost] = ()) -> None:
        """The order's trace becomes the tree in the file of that name. Raises AssertionError, with the difference."""
        told = Told(order_id, FOLDER / f"{name}.txt", lost)
        if not REWRITES:
            with suppress(TimeoutError):
                await eventually(lambda: self._drawn(told) == told.expected.read_text())
            self._check(told)
        self._told.append(told)

    async def check(self, keepers: Iterable[Keeper]) -> None:
        """Whether every trace is still what it was, also as others have kept it.

        In a rewrite, whatever they are is expected from now on.
        """
        for told in self._told if REWRITES else ():
            told.expected.write_text(self._drawn(told))
        for told in self._told:
            self._check(told)
            for keeper in keepers:
                await self._check_kept(told, keeper)

    async def _check_kept(self, told: Told, keeper: Keeper) -> None:
        trace_id = self.collector.of_order(told.order_id)[0].trace_id

        async def spans() -> list[Span]:
            return mended(await read_back(keeper, trace_id), told.lost)

        async def is_whole() -> bool:
            return drawn(await spans(), self.collector.spans) == told.expected.read_text()

        with suppress(TimeoutError):
            await eventually(is_whole)
        self._compare(told, await spans(), f"{told.order_id} at {keeper.traces.query}")

    def _check(self, told: Told) -> None:
        self._compare(told, self._spans(told), told.order_id)

    def _compare(self, told: Told, spans: list[Span], where: str) -> None:
        expected, found = told.expected.read_text().splitlines(), drawn(spans, self.collector.spans).splitlines()
        difference = "\n".join(unified_diff(expected, found, told.expected.name, where, lineterm="", n=5))
        assert not difference, f"another trace than expected:\n{difference}"
        assert flaws(spans, self.collector.spans) == []

    def _drawn(self, told: Told) -> str:
        return drawn(self._spans(told), self.collector.spans)

    def _spans(self, told: Told) -> list[Span]:
        return mended(self.collector.traces_of(told.order_id), told.lost)
