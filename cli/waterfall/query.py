"""Asking for an order's trace by the query protocol of Jaeger: api_v3, over HTTP."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from cli.running import UNAVAILABLE, CommandError
from cli.waterfall.span import Span, spans_of

PATIENCE = aiohttp.ClientTimeout(total=10)
BEFORE, AFTER = timedelta(seconds=2), timedelta(seconds=2)
"""Around the moment that an order's id was made: its trace has a span that started then."""
TRACES_MAX = 1500
"""How many may have begun around that moment: Jaeger 2.13 looks at the time only, not at attributes."""


async def spans_of_order(url: str, order_id: str) -> list[Span]:
    """Every span of the order's traces, oldest first and each once; none if there are none.

    `url` is the base of the query API. Raises CommandError when it does not answer, or with something else.
    """
    try:
        made_at = _made_at(order_id)
    except ValueError:
        return []
    # Later than that only where the front door died with what it had to tell, and the order was handed over again.
    for until in (made_at + AFTER, datetime.now(UTC) + AFTER):
        if spans := await _spans_since(url, order_id, made_at - BEFORE, until):
            return spans
    return []


async def _spans_since(url: str, order_id: str, since: datetime, until: datetime) -> list[Span]:
    """The same for an order whose trace has a span that started then."""
    parameters = {
        "query.attributes": json.dumps({"order.id": order_id}),
        "query.start_time_min": _rfc3339(since),
        "query.start_time_max": _rfc3339(until),
        "query.num_traces": str(TRACES_MAX),
    }
    found = await _found(url, parameters)
    ours = {span.trace_id for span in found if span.attributes.get("order.id") == order_id}
    # A client that traces, too, may place several orders in one trace.
    of_it = [each for each in found if each.trace_id in ours and each.attributes.get("order.id", order_id) == order_id]
    # What an exporter sends again, because it got no answer, is there twice.
    unique = {(span.trace_id, span.span_id): span for span in of_it}
    return sorted(unique.values(), key=lambda span: span.start)


async def _found(url: str, parameters: dict[str, str]) -> list[Span]:
    try:
        async with (
            aiohttp.ClientSession(timeout=PATIENCE) as session,
            session.get(f"{url.rstrip('/')}/api/v3/traces", params=parameters) as answer,
        ):
            if answer.status == 404:  # so it says that there are none  # noqa: PLR2004
                return []
            content: dict[str, Any] = json.loads(await answer.text())
            if "error" in content:
                raise CommandError(f"{url} cannot look for traces: {content['error']['message']}", UNAVAILABLE)
            return spans_of(content["result"])
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise CommandError(
            f"nobody answers for traces at {url} ({type(error).__name__}); is `ensemble up` running? "
            "--traces names another query API",
            UNAVAILABLE,
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"what answers at {url} is not the query API of Jaeger (api_v3); name it by --traces"
        raise CommandError(message, UNAVAILABLE) from error


def _made_at(order_id: str) -> datetime:
    """Raises ValueError for what is no UUID of version 7, and so no order of ours."""
    parsed = uuid.UUID(order_id)
    if parsed.version != 7:  # noqa: PLR2004
        raise ValueError(f"{order_id} was not made by a clock")
    return datetime.fromtimestamp((parsed.int >> 80) / 1000, UTC)


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
