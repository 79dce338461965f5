"""Every order in which parties that take several steps each can get in each other's way."""

from collections.abc import AsyncGenerator, Iterator, Sequence

from mesh.errors import Outage, Refusal

Party = AsyncGenerator[object]
"""Takes a step each time it is asked on; what it yields or raises last is its answer."""


def orders(*steps: int) -> Iterator[tuple[int, ...]]:
    """Each order of turns, where the first party takes so many steps, the second so many, and so on."""
    if not any(steps):
        yield ()
    for party, left in enumerate(steps):
        if left:
            for rest in orders(*steps[:party], left - 1, *steps[party + 1 :]):
                yield (party, *rest)


async def take_turns(parties: Sequence[Party], turns: Sequence[int]) -> list[object]:
    """Let the parties take their steps in turn. Returns their answers: None of those who were left in the middle."""
    answers: list[object] = [None] * len(parties)
    for party in turns:
        try:
            answers[party] = await anext(parties[party])
        except StopAsyncIteration:
            pass  # it has its answer
        except (Refusal, Outage) as error:
            answers[party] = error
    for party in parties:
        await party.aclose()
    return answers
