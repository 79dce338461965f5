"""Dead letters, as they are printed."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import typer
from google.protobuf.json_format import MessageToDict

from cli.facts import decoded
from cli.output import console, local, table
from mesh.events.dead_letters import Letter


async def print_letters(letters: AsyncIterator[Letter], as_json: bool) -> None:
    """A table; or an object on a line for each."""
    if as_json:
        async for letter in letters:
            typer.echo(json.dumps(summary(letter)))
        return
    found = [letter async for letter in letters]
    console.print(_records(found) if found and found[0].is_resolved else _letters(found))


def print_letter(letter: Letter, as_json: bool) -> None:
    """All there is to it."""
    whole = {**summary(letter), "headers": dict(letter.headers), "payload": _payload(letter)}
    if as_json:
        typer.echo(json.dumps(whole, indent=2))
        return
    for name, value in whole.items():
        text = json.dumps(value, indent=2) if isinstance(value, dict) else str(value)
        console.print(f"{name:<18} {text}", markup=False, soft_wrap=True)


def summary(letter: Letter) -> dict[str, Any]:
    """What tells one letter from others."""
    stream, sequence = letter.origin
    buried = {
        "id": letter.id,
        "durable": letter.durable,
        "fact": letter.kind,
        "key": letter.key,
        "reason": letter.reason,
        "deliveries": int(letter.headers.get("Dead-Deliveries", 0)),
        "stream": stream,
        "sequence": sequence,
        "bytes": len(letter.recorded.payload),
        "too_large_to_keep": letter.is_pointer,
    }
    if letter.is_resolved:
        names = ("Resolved-As", "Resolved-By", "Resolved-At", "Resolved-Reason")
        return buried | {name.lower().replace("-", "_"): letter.headers.get(name, "") for name in names}
    return buried | {"buried_at": letter.recorded.stored_at.isoformat()}


def _payload(letter: Letter) -> Any:
    """The fact, where its type is known; else its bytes, in base64."""
    if letter.is_pointer:
        return f"too large to be kept; it is where it came from: {' at '.join(map(str, letter.origin))}"
    fact = decoded(letter.kind, letter.recorded.payload)
    if fact is None:
        return base64.b64encode(letter.recorded.payload).decode()
    return MessageToDict(fact, preserving_proto_field_name=True)


def _letters(found: list[Letter]) -> object:
    shown = table("id>", "buried", "durable", "about", "tries>", "reason")
    for letter in found:
        tries = letter.headers.get("Dead-Deliveries", "")
        reason = f"{letter.reason} (too large to be kept)" if letter.is_pointer else letter.reason
        shown.add_row(str(letter.id), local(letter.recorded.stored_at), letter.durable, letter.key, tries, reason)
    return shown


def _records(found: list[Letter]) -> object:
    shown = table("id>", "resolved", "as", "by", "durable", "about", "why")
    for record in found:
        how, by, why = (record.headers.get(f"Resolved-{name}", "") for name in ("As", "By", "Reason"))
        at = local(record.recorded.stored_at)
        shown.add_row(str(record.id), at, how, by, record.durable, record.key, why)
    return shown
