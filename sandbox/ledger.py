"""What happened out there, in one SQLite file."""

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

BUSY_SECONDS = 0.25
"""How long a write waits for a person who holds the file locked. The whole process waits with it."""


class NeverSeen(LookupError):
    """The ledger has nothing under this key."""


class Payment(NamedTuple):
    key: str
    state: Literal["charged", "refunded", "declined", "cancelled"]
    amount_minor: int | None = None
    currency: str | None = None
    token: str | None = None
    charge_id: str | None = None
    decline_code: str | None = None


class Shipment(NamedTuple):
    key: str
    state: Literal["booked", "refused", "cancelled"]
    postcode: str | None = None
    country: str | None = None
    parcels: str | None = None
    """JSON: a list of objects with `sku` and `quantity`."""
    tracking: str | None = None
    refusal_code: str | None = None


class Mail(NamedTuple):
    message_id: str | None
    sender: str
    recipient: str
    subject: str
    raw: bytes


class Ledger:
    """Payments, shipments and mails. Each method is one statement, durable when it returns.

    It is called in the event loop's thread: with a write-ahead log and `synchronous=NORMAL` a commit does not
    wait for the disk and costs tens of microseconds, less than a hop to another thread. A killed process
    loses nothing; a power cut may lose the last commits.

    Every method raises `sqlite3.Error` when the file cannot be used.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_payment(self, payment: Payment) -> bool:
        """Write the first answer to a key; False, and nothing written, when the key has one already."""
        return self._write(_ADD_PAYMENT, payment) == 1

    def cancel_payment(self, key: str) -> None:
        """Refund what was charged, and bar a key that was never seen; a declined payment stays as it is."""
        self._write(_CANCEL_PAYMENT, (key,))

    def payment(self, key: str) -> Payment:
        """Raises NeverSeen."""
        return Payment(*self._one(_PAYMENT, key))

    def add_shipment(self, shipment: Shipment) -> bool:
        """Write the first answer to a key; False, and nothing written, when the key has one already."""
        return self._write(_ADD_SHIPMENT, shipment) == 1

    def cancel_shipment(self, key: str) -> None:
        """Bar a key that was never seen; what was booked or refused stays as it is."""
        self._write(_CANCEL_SHIPMENT, (key,))

    def shipment(self, key: str) -> Shipment:
        """Raises NeverSeen."""
        return Shipment(*self._one(_SHIPMENT, key))

    def add_mail(self, mail: Mail) -> None:
        self._write(_ADD_MAIL, mail)

    def rows(self, table: Literal["payments", "shipments", "mails"]) -> list[dict[str, Any]]:
        """Everything in one table, in order of arrival."""
        cursor = self._connection.execute(_ROWS[table])
        columns = [column[0] for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor]

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many payments and shipments are in each state, and how many mails there are."""
        payments = dict.fromkeys(("charged", "refunded", "declined", "cancelled"), 0)
        shipments = dict.fromkeys(("booked", "refused", "cancelled"), 0)
        received, distinct = self._connection.execute(_COUNT_MAILS).fetchone()
        return {
            "payments": payments | dict(self._connection.execute(_COUNT_PAYMENTS).fetchall()),
            "shipments": shipments | dict(self._connection.execute(_COUNT_SHIPMENTS).fetchall()),
            "mails": {"received": received, "distinct_message_ids": distinct},
        }

    def totals(self) -> Mapping[str, Mapping[str, int]]:
        """The money that was charged and kept, and the money that was given back: minor units by currency."""
        totals: dict[str, dict[str, int]] = {"charged": {}, "refunded": {}}
        for state, currency, amount_minor in self._connection.execute(_TOTALS):
            totals[state][currency] = amount_minor
        return totals

    def check_writable(self) -> None:
        self._write(_CHECK, ())

    def _one(self, query: str, key: str) -> tuple[Any, ...]:
        row = self._connection.execute(query, (key,)).fetchone()
        if row is None:
            raise NeverSeen(key)
        return row

    def _write(self, statement: str, values: tuple[object, ...]) -> int:
        return self._connection.execute(statement, values).rowcount


@contextmanager
def opened(path: Path) -> Generator[Ledger]:
    """Open the ledger file, made if it is not there."""
    # isolation_level=None is autocommit: each statement is its own transaction.
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(Path(__file__).with_name("ledger.sql").read_text(encoding="utf-8"))
        yield Ledger(connection)
    finally:
        connection.close()


_ADD_PAYMENT = """
INSERT INTO payments (key, state, amount_minor, currency, token, charge_id, decline_code)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO NOTHING
"""

_CANCEL_PAYMENT = """
INSERT INTO payments (key, state) VALUES (?, 'cancelled')
ON CONFLICT (key) DO UPDATE SET state = 'refunded', changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
WHERE state = 'charged'
"""

_PAYMENT = """
SELECT key, state, amount_minor, currency, token, charge_id, decline_code FROM payments WHERE key = ?
"""

_ADD_SHIPMENT = """
INSERT INTO shipments (key, state, postcode, country, parcels, tracking, refusal_code)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO NOTHING
"""

_CANCEL_SHIPMENT = "INSERT INTO shipments (key, state) VALUES (?, 'cancelled') ON CONFLICT (key) DO NOTHING"

_SHIPMENT = """
SELECT key, state, postcode, country, parcels, tracking, refusal_code FROM shipments WHERE key = ?
"""

_ADD_MAIL = "INSERT INTO mails (message_id, sender, recipient, subject, raw) VALUES (?, ?, ?, ?, ?)"

_ROWS = {
    "payments": "SELECT * FROM payments ORDER BY id",
    "shipments": "SELECT * FROM shipments ORDER BY id",
    "mails": "SELECT * FROM mails ORDER BY id",
}

_COUNT_PAYMENTS = "SELECT state, count(*) FROM payments GROUP BY state"

_COUNT_SHIPMENTS = "SELECT state, count(*) FROM shipments GROUP BY state"

_COUNT_MAILS = "SELECT count(*), count(DISTINCT message_id) FROM mails"

_TOTALS = """
SELECT state, currency, sum(amount_minor) FROM payments
WHERE state IN ('charged', 'refunded') GROUP BY state, currency
"""

_CHECK = "REPLACE INTO health (id, checked_at) VALUES (1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"
