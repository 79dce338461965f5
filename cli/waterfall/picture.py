"""Lines drawn as a waterfall: when, how long, who, what, and a bar on the scale of time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from cli.waterfall.lines import Line
from cli.waterfall.marks import Mark

COLOURS = ("cyan", "green", "blue", "bright_cyan", "bright_green", "bright_blue", "white", "color(137)")
"""Of services. Red, yellow and magenta tell how things went."""
AT_WORK, ON_THE_WAY = "━", "┄"
LAST, NOT_LAST = ("└ ", "  "), ("├ ", "│ ")
"""How a line hangs on the one that it follows from, and what stands before the lines below it."""
BAR_MIN = 24
"""Columns, as long as they are no more than a third: the names of things are cut rather than that."""
NUMBER_MIN = 7
"""Columns of a number; more where a trace lasts longer."""
ROOMY = 100
"""Columns from which on there is room for the time on the way, too."""
GAP = "  "


@dataclass(frozen=True)
class Row:
    """A line on its branch."""

    line: Line
    branch: str
    below: str
    """What stands before that which is said of the line further down."""

    def what(self, *, is_roomy: bool) -> Text:
        """With those of its marks that stand beside it."""
        return self._name() + self._beside(is_roomy)

    def cut(self, width: int, *, is_roomy: bool) -> Text:
        """The same in just so many columns: the name is cut rather than the marks, down to half of them."""
        name, marks = self._name(), self._beside(is_roomy)
        name.truncate(max(width - marks.cell_len, width // 2), overflow="ellipsis")
        what = name + marks
        what.truncate(width, overflow="ellipsis", pad=True)
        return what

    def _name(self) -> Text:
        return Text(self.branch) + Text(self.line.what, style=self.line.tone.value)

    def _beside(self, is_roomy: bool) -> Text:
        marks = self.marks(beside=True, is_roomy=is_roomy)
        return Text().join(Text(f"  {mark.text}", style=mark.tone.value) for mark in marks)

    def marks(self, *, beside: bool, is_roomy: bool) -> list[Mark]:
        """Those that stand beside the line, or those below it."""
        return [mark for mark in self.line.marks if mark.text and (is_roomy and not mark.is_long) is beside]


@dataclass(frozen=True)
class Frame:
    """How wide everything is, and for how long there is room."""

    nanoseconds: int
    number: int
    who: int
    what: int
    bar: int
    is_roomy: bool

    def column(self, after: int) -> int:
        """Where in a bar that is which comes so many nanoseconds after the start."""
        return min(max(after * self.bar // max(self.nanoseconds, 1), 0), self.bar - 1)


def rows_of(lines: Sequence[Line], branch: str = "") -> Iterator[Row]:
    """Each line, and then those below it."""
    for line in lines:
        yield Row(line, branch, branch + ("│ " if line.below else "  "))
        yield from _hanging(line.below, branch)


def _hanging(lines: Sequence[Line], above: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        mark, gap = LAST if number == len(lines) else NOT_LAST
        yield Row(line, above + mark, above + gap + ("│ " if line.below else "  "))
        yield from _hanging(line.below, above + gap)


def framed(rows: Sequence[Row], nanoseconds: int, width: int) -> Frame:
    """What fits into `width` columns."""
    is_roomy = width >= ROOMY
    who = max(len(row.line.who) for row in rows)
    number = max(NUMBER_MIN, len(_milliseconds(nanoseconds)))
    room = width - len(_numbers("", "", "", number, is_roomy)) - who - 3 * len(GAP)
    what = min(max(row.what(is_roomy=is_roomy).cell_len for row in rows), room - min(BAR_MIN, room // 3))
    return Frame(nanoseconds, number, who, what, room - what, is_roomy)


def drawn(rows: Iterable[Row], start: int, frame: Frame, colours: Mapping[str, str]) -> list[Text]:
    """A heading, and then each row with what must not be missed about it; time is counted from `start`."""
    return [_heading(frame), *(text for row in rows for text in _row(row, start, frame, colours))]


def colours_of(services: Iterable[str]) -> dict[str, str]:
    """A colour each."""
    return {service: COLOURS[number % len(COLOURS)] for number, service in enumerate(dict.fromkeys(services))}


def _heading(frame: Frame) -> Text:
    took = _milliseconds(frame.nanoseconds)
    axis = f"0{f'{took} ms':>{frame.bar - 1}}"
    numbers = _numbers("at", "way", "took", frame.number, frame.is_roomy)
    return Text(GAP.join([numbers, f"{'who':{frame.who}}", f"{'what':{frame.what}}", axis]), style="bold")


def _row(row: Row, start: int, frame: Frame, colours: Mapping[str, str]) -> Iterator[Text]:
    line, colour = row.line, colours.get(row.line.who, "")
    what = row.cut(frame.what, is_roomy=frame.is_roomy)
    gap = Text(GAP)
    who = Text(f"{line.who:{frame.who}}", style=colour)
    bar = _bar(line, start, frame, line.tone.value or colour)
    yield gap.join([Text(_durations(line, start, frame)), who, what, bar])
    before = " " * (len(_numbers("", "", "", frame.number, frame.is_roomy)) + frame.who + 2 * len(GAP)) + row.below
    width = len(before) - len(row.below) + frame.what + len(GAP) + frame.bar
    for mark in row.marks(beside=False, is_roomy=frame.is_roomy):
        said = Text(before) + Text(mark.text, style=mark.tone.value)
        said.truncate(width, overflow="ellipsis")
        yield said


def _bar(line: Line, start: int, frame: Frame, style: str) -> Text:
    """The way there, the work, the way back."""
    set_out, begun, end, back = (frame.column(at - start) for at in (line.set_out, line.start, line.end, line.back))
    bar = Text(" " * set_out)
    bar.append(ON_THE_WAY * (begun - set_out), style="dim")
    bar.append(AT_WORK * (end - begun + 1), style=style)
    bar.append(ON_THE_WAY * (back - end), style="dim")
    return bar


def _durations(line: Line, start: int, frame: Frame) -> str:
    way = max(line.start - line.set_out, 0) + max(line.back - line.end, 0)
    at = _milliseconds(line.set_out - start)
    took = _milliseconds(line.end - line.start)
    return _numbers(at, _milliseconds(way) if way else "", took, frame.number, frame.is_roomy)


def _numbers(at: str, way: str, took: str, width: int, is_roomy: bool) -> str:
    return GAP.join(f"{each:>{width}}" for each in ([at, way, took] if is_roomy else [at, took]))


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:,.1f}"
