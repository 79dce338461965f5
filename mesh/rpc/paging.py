"""Pages of a list (AIP-158): opaque tokens, a bounded size."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mesh.errors import Kind, Refusal

SIZE = 50
"""Items of a page, where the request does not say."""


class PageRequest(Protocol):
    """The fields of a list request that page it."""

    page_size: int
    page_token: str


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted: `size` items after the one with key `after`."""

    size: int
    after: str

    def next_token(self, keys: Sequence[str]) -> str:
        """The token of the page after the one with these keys; empty if this was the last."""
        return base64.urlsafe_b64encode(keys[-1].encode()).decode() if len(keys) == self.size else ""


def page_of(request: PageRequest) -> Page:
    """The page a request asks for. Raises Refusal INVALID_PAGE_TOKEN for a token we did not make."""
    try:
        after = base64.b64decode(request.page_token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        message = "page_token is not one that a list has returned"
        raise Refusal(Kind.INVALID, "INVALID_PAGE_TOKEN", message) from error
    if "\0" in after:
        raise Refusal(Kind.INVALID, "INVALID_PAGE_TOKEN", "page_token is not one that a list has returned")
    return Page(request.page_size or SIZE, after)
