"""`ensemble events dlq`: the dead letters, and what is made of them."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from cli.broker import Nats, connected_bus
from cli.client import DEFAULT_DATA, Data, Json, Where
from cli.letters import print_letter, print_letters, summary
from cli.moment import Since, Until
from cli.output import console, progress
from cli.running import EXIT_CODES, REFUSED, USAGE, CommandError, run
from cli.stated import Containing, Durable, Fact, Order
from mesh.errors import Refusal
from mesh.events import dead_letters, resolution
from mesh.events.bus import Bus
from mesh.events.dead_letters import Letter, Which
from mesh.events.resolution import Operator

app = typer.Typer(
    no_args_is_help=True,
    epilog=EXIT_CODES,
    help="Look at the dead letters: what no reaction could handle. Replay them when the cause is mended.",
)

RESOLVE: dict[str, Callable[[Bus, Letter, Operator], Awaitable[Letter | None]]] = {
    resolution.REPLAYED: resolution.replay,
    resolution.DISCARDED: resolution.discard,
}

Ids = Annotated[list[int] | None, typer.Argument(min=1, help="Letters, by their ids.", show_default=False)]
Everything = Annotated[bool, typer.Option("--all", help="All that there are.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept with who and when.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]


@app.command("list", epilog=EXIT_CODES)
def list_letters(  # noqa: PLR0913, PLR0917 - an option each
    durable: Durable = None,
    fact: Fact = None,
    order: Order = None,
    containing: Containing = None,
    since: Since = None,
    until: Until = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Those that were replayed or discarded.")] = False,
    data: Data = DEFAULT_DATA,
    nats: Nats = None,
    as_json: Json = False,
) -> None:
    """List the dead letters, oldest first; or, of those that were resolved, who did what and why."""
    which = Which(durable, fact, order, containing, since, until)
    run(_list(Where(data, nats=nats), which, resolved, as_json))


@app.command(epilog=EXIT_CODES)
def show(
    letter_id: Annotated[int, typer.Argument(min=1, help="Its id.")],
    data: Data = DEFAULT_DATA,
    nats: Nats = None,
    as_json: Json = False,
) -> None:
    """Show all there is to one letter."""
    run(_show(Where(data, nats=nats), letter_id, as_json))


@app.command(epilog=EXIT_CODES)
def replay(  # noqa: PLR0913, PLR0917 - an option each
    ids: Ids = None,
    durable: Durable = None,
    fact: Fact = None,
    order: Order = None,
    containing: Containing = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    reason: Why = "",
    dry_run: DryRun = False,
    data: Data = DEFAULT_DATA,
    nats: Nats = None,
    as_json: Json = False,
) -> None:
    """Send letters to the service that buried them, once more: the ones named, or all that are meant by the options."""
    which = Which(durable, fact, order, containing, since, until)
    wanted = Wanted(resolution.REPLAYED, tuple(ids or ()), which, everything)
    run(_resolve(Where(data, nats=nats), wanted, None if dry_run else Operator.here(reason), as_json))


@app.command(epilog=EXIT_CODES)
def discard(  # noqa: PLR0913, PLR0917 - an option each
    ids: Ids = None,
    durable: Durable = None,
    fact: Fact = None,
    order: Order = None,
    containing: Containing = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    reason: Why = "",
    dry_run: DryRun = False,
    data: Data = DEFAULT_DATA,
    nats: Nats = None,
    as_json: Json = False,
) -> None:
    """Put letters away for good: the ones named, or all that are meant by the options."""
    which = Which(durable, fact, order, containing, since, until)
    wanted = Wanted(resolution.DISCARDED, tuple(ids or ()), which, everything)
    run(_resolve(Where(data, nats=nats), wanted, None if dry_run else Operator.here(reason), as_json))


@dataclass(frozen=True)
class Wanted:
    """What is to become of which letters."""

    how: str
    """Replayed, or discarded."""
    ids: tuple[int, ...]
    which: Which
    everything: bool

    async def chosen(self, bus: Bus) -> list[int]:
        """The ids of those that are there now: what is buried meanwhile is not meant."""
        return list(self.ids) or [letter.id async for letter in dead_letters.letters(bus, self.which)]

    @property
    def is_clear(self) -> bool:
        """Whether they are named, or chosen, or all: one of these."""
        return [bool(self.ids), self.which != Which(), self.everything].count(True) == 1


async def _list(where: Where, which: Which, resolved: bool, as_json: bool) -> None:
    async with connected_bus(where) as bus:
        await print_letters(dead_letters.letters(bus, which, resolved=resolved), as_json)


async def _show(where: Where, letter_id: int, as_json: bool) -> None:
    async with connected_bus(where) as bus:
        letter = await dead_letters.letter(bus, letter_id)
    if letter is None:
        raise CommandError(f"there is no letter {letter_id}, nor a record of one", REFUSED)
    print_letter(letter, as_json)


async def _resolve(where: Where, wanted: Wanted, operator: Operator | None, as_json: bool) -> None:
    if not wanted.is_clear:
        raise CommandError("name letters by their ids, or choose some by options, or say --all", USAGE)
    async with connected_bus(where) as bus:
        ids = await wanted.chosen(bus)
        if not ids:
            progress.print("no letter is meant")
        problems = [await _resolve_one(bus, number, wanted.how, operator, as_json) for number in ids]
    if failed := len(problems) - problems.count(""):
        raise CommandError(f"{failed} of {len(ids)} letters could not be {wanted.how}", REFUSED)


async def _resolve_one(bus: Bus, number: int, how: str, operator: Operator | None, as_json: bool) -> str:
    """Resolve a letter, or without an operator only tell; print a line of it. Returns what was in the way."""
    letter = await dead_letters.letter(bus, number)
    if letter is None:
        done, problem = "", f"there is no letter {number}"
    elif letter.is_resolved:
        done, problem = _resolved_before(letter, how)
    elif operator is None:
        done, problem = f"would be {how}", ""
    else:
        done, problem = await _resolved(bus, letter, how, operator)
    if as_json:
        about = summary(letter) if letter else {"id": number}
        typer.echo(json.dumps({**about, "done": done, "problem": problem}))
    else:
        about = f"{letter.durable}  {letter.key}  " if letter else ""
        console.print(f"{number:>6}  {about}{problem or done}", markup=False, soft_wrap=True)
    return problem


async def _resolved(bus: Bus, letter: Letter, how: str, operator: Operator) -> tuple[str, str]:
    try:
        before = await RESOLVE[how](bus, letter, operator)
    except Refusal as refusal:
        return "", refusal.message
    return _resolved_before(before, how) if before else (how, "")


def _resolved_before(record: Letter, how: str) -> tuple[str, str]:
    """It is all the same who did it; it is not if they did something else."""
    was, by, at = (record.headers[f"Resolved-{name}"] for name in ("As", "By", "At"))
    told = f"{was} before, by {by} at {at}"
    return (told, "") if was == how else ("", told)
