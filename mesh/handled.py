"""The table `handled`: what was answered to a request, and which facts have been reacted to."""

import hashlib
from typing import Any, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from google.protobuf.message import Message

from mesh.errors import Kind, Refusal

Response = TypeVar("Response", bound=Message)

ANNOUNCE = """
INSERT INTO outbox (key, stream, subject, headers, payload)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[], $5::bytea[])
"""
MARK = """
WITH fresh AS (
    INSERT INTO handled (key, fingerprint, answer, refusal) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING RETURNING true
), announced AS (
    INSERT INTO outbox (key, stream, subject, headers, payload)
    SELECT * FROM unnest($5::text[], $6::text[], $7::text[], $8::jsonb[], $9::bytea[])
)
SELECT count(*) FROM fresh
"""
"""Mark, answer and announce in one statement. 0: it was handled before, and all this is to be rolled back."""
HANDLED = "SELECT fingerprint, answer, refusal FROM handled WHERE key = $1"


def fingerprint(request: Message) -> bytes:
    """Tells a repeat from another request with the same id."""
    content = request.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + content).digest()


def columns(outcome: Message | Refusal) -> tuple[bytes | None, dict[str, Any] | None]:
    """`answer` and `refusal`: one of them is set."""
    if not isinstance(outcome, Refusal):
        return outcome.SerializeToString(), None
    return None, {
        "kind": outcome.kind.name,
        "reason": outcome.reason,
        "message": outcome.message,
        "metadata": outcome.metadata,
    }


async def answer_to(
    connection: "PoolConnectionProxy[asyncpg.Record]", request_id: str, request: Message, response: type[Response]
) -> Response | None:
    """The stored answer, if the request was handled before.

    Raises the stored Refusal; Refusal ALREADY_EXISTS if the id was used for another request.
    """
    row = await connection.fetchrow(HANDLED, f"request/{request_id}")
    if row is None:
        return None
    if row["fingerprint"] != fingerprint(request):
        message = f"request_id {request_id} was used for another request; choose a new one"
        raise Refusal(Kind.ALREADY_EXISTS, "REQUEST_ID_REUSED", message, request_id=request_id)
    if row["refusal"] is not None:
        stored: dict[str, Any] = row["refusal"]
        raise Refusal(Kind[stored["kind"]], stored["reason"], stored["message"], **stored["metadata"])
    return response.FromString(row["answer"])
