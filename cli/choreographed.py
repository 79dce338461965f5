"""The chronicle of a choreographed order: its facts, each below the one that caused it."""

from collections.abc import Iterator

from cli.chronicle import Awaited, Chronicle, Happened
from cli.evidence import Evidence
from cli.facts import detail
from cli.story import Happening, Reaction, Standing, Story

LAST, NOT_LAST = ("└─ ", "   "), ("├─ ", "│  ")
"""How a line hangs on the one that it follows from, and what stands before the lines below it."""


def chronicle(story: Story, evidence: Evidence) -> Chronicle:
    """What the story says, as of when the evidence was gathered."""
    beginning, outcome = story.beginnings[0], story.outcome
    return Chronicle(
        order_id=story.order_id,
        mode="choreographed",
        state=story.state,
        outcome=_detail(outcome) if outcome else "",
        about=_detail(beginning),
        began_at=story.began_at,
        ended_at=outcome and outcome.record.announced_at,
        seen_at=evidence.asked_at,
        lines=list(_Lines(story)),
        not_asked=evidence.not_asked,
    )


class _Lines:
    def __init__(self, story: Story) -> None:
        self._story = story
        self._awaited = {(happening.record.sequence, reaction.durable) for happening, reaction in story.awaited()}

    def __iter__(self) -> Iterator[Happened | Awaited]:
        for beginning in self._story.beginnings:
            yield from self._of(beginning, None, "", "")

    def _of(
        self, happening: Happening, cause: Happening | None, branch: str, below: str
    ) -> Iterator[Happened | Awaited]:
        yield _happened(happening, cause, branch)
        outstanding = [each for each in happening.reactions if self._is_shown(happening, each)]
        rest = len(happening.led_to) + len(outstanding)
        for each in (*happening.led_to, *outstanding):
            rest -= 1
            mark, gap = NOT_LAST if rest else LAST
            if isinstance(each, Happening):
                yield from self._of(each, happening, below + mark, below + gap)
            else:
                hang = _discarded if each.standing is Standing.DISCARDED else _awaited
                yield hang(happening, each, below + mark)

    def _is_shown(self, happening: Happening, reaction: Reaction) -> bool:
        is_awaited = (happening.record.sequence, reaction.durable) in self._awaited
        return is_awaited or reaction.standing is Standing.DISCARDED


def _happened(happening: Happening, cause: Happening | None, branch: str) -> Happened:
    record = happening.record
    return Happened(
        at=record.announced_at,
        took=record.announced_at - cause.record.announced_at if cause else None,
        who=record.source or "?",
        what=happening.event,
        detail=happening.problem or "  ".join(filter(None, [_detail(happening), _asked(happening, cause)])),
        event_id=record.event_id,
        cause=record.cause,
        wrong=bool(happening.problem),
        branch=branch,
    )


def _asked(happening: Happening, cause: Happening | None) -> str:
    """What a beginning goes back to: a request, or the watchdog."""
    record = happening.record
    return "" if cause else f"<- {record.cause.removeprefix(f'{record.key}/') or 'nothing'}"


def _detail(happening: Happening) -> str:
    return "" if happening.fact is None else detail(happening.fact)


def _awaited(happening: Happening, reaction: Reaction, branch: str) -> Awaited:
    answers = " or ".join(reaction.leads_to)
    return Awaited(
        who=reaction.service,
        what=answers or f"to take note of {happening.event}",
        since=reaction.since,
        why=_why(happening, reaction),
        wrong=reaction.standing in (Standing.BURIED, Standing.ABSENT),
        branch=branch,
    )


def _discarded(happening: Happening, reaction: Reaction, branch: str) -> Happened:
    headers = dict(reaction.letter.headers) if reaction.letter else dict[str, str]()
    return Happened(
        at=reaction.since,
        took=reaction.since - happening.record.announced_at,
        who=headers.get("Resolved-By", "?"),
        what=f"discarded it for {reaction.service}",
        detail=headers.get("Dead-Reason", ""),
        wrong=True,
        branch=branch,
    )


def _why(happening: Happening, reaction: Reaction) -> str:
    """Why the reaction has not been made yet."""
    letter, place = reaction.letter, reaction.place
    if letter is not None and reaction.standing is Standing.BURIED:
        return f"{happening.event} is its dead letter {letter.id}: {letter.reason}"
    if place is None:
        return f"it has never listened: there is no durable {reaction.durable}"
    if reaction.standing is Standing.HEARD:
        return f"it has acknowledged {happening.event}, and announced nothing since"
    where = place.name if place.is_read else f"{place.name}, which nobody reads now"
    if reaction.standing is Standing.AT_WORK:
        return f"it was given {happening.event}, and has not acknowledged it to {where}"
    return f"{place.waiting:,} wait in {where}"
