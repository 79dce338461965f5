"""Identities: new ones, and ones that everybody derives alike."""

import uuid_utils


def new_id() -> str:
    """A UUIDv7 (RFC 9562): unique, and sorted by the time it was made."""
    return str(uuid_utils.uuid7())


def derived_id(root: str, step: str) -> str:
    """The id of what `step` makes for `root`: the same whoever asks and however often."""
    return f"{root}.{step}"
