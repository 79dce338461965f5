"""Somebody outside, asked over HTTP and answering in JSON."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from mesh.errors import Outage
from mesh.telemetry import tracing

PATIENCE = aiohttp.ClientTimeout(total=2.5)
"""For one request: shorter than the deadline of a call, so that the caller still hears of the outage."""


class HttpPeer:
    """One that is asked, over connections that are kept."""

    def __init__(self, name: str, url: str, session: aiohttp.ClientSession) -> None:
        self._name = name
        self._address = urlsplit(url)
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, name: str, url: str) -> "AsyncGenerator[HttpPeer]":
        """The one at `url`. `name` is what errors call it."""
        async with aiohttp.ClientSession(url, timeout=PATIENCE, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield cls(name, url, session)

    async def ask(
        self, method: str, template: str, parameters: Mapping[str, str], body: Mapping[str, object] | None = None
    ) -> tuple[int, Any]:
        """The status and the content of the answer. Raises Outage if there is none.

        `template` is the path, with the names of its parameters in braces.
        """
        path = template.format_map({name: quote(value, safe="") for name, value in parameters.items()})
        attributes = {
            "http.request.method": method,
            "url.template": template,
            "server.address": self._address.hostname or "",
            "server.port": self._address.port or 80,
        }
        try:
            with tracing.calling(f"{method} {template}", attributes) as span:
                async with self._session.request(method, path, json=body, headers=tracing.inject()) as response:
                    span.set_attribute("http.response.status_code", response.status)
                    if not response.ok:
                        tracing.failed(span, str(response.status))
                    return response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            # Not its `repr`: that of aiohttp's errors quotes the headers of the request.
            raise Outage(f"{self._name}: {type(error).__name__}: {error}") from error
