"""Traces as an SVG: what the terminal shows, for documents."""

import io
import re
from collections.abc import Sequence

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from cli.waterfall.show import Traced, show

WIDTH = 130
"""Columns: as many as can be read on a page."""
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "<svg ", '<svg xml:space="preserve" ', 1
)
"""Without the fonts that a browser would fetch from elsewhere; with the spaces that columns are made of."""


def svg_of(orders: Sequence[Traced], *, every: bool = False) -> str:
    """The picture of one order, or of two on the same scale."""
    paper = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    show(paper, orders, every=every)
    return paper.export_svg(title="ensemble trace", code_format=FORMAT, unique_id="trace").strip()
