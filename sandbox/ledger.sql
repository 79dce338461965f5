-- The ledger of the outside world. Rows are never deleted; `id` is the order of arrival.

CREATE TABLE IF NOT EXISTS payments (
    id           INTEGER PRIMARY KEY,
    key          TEXT NOT NULL UNIQUE,
    state        TEXT NOT NULL CHECK (state IN ('charged', 'refunded', 'declined', 'cancelled')),
    amount_minor INTEGER,
    currency     TEXT,
    token        TEXT,
    charge_id    TEXT,
    decline_code TEXT,
    created_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    changed_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE IF NOT EXISTS shipments (
    id           INTEGER PRIMARY KEY,
    key          TEXT NOT NULL UNIQUE,
    state        TEXT NOT NULL CHECK (state IN ('booked', 'refused', 'cancelled')),
    postcode     TEXT,
    country      TEXT,
    parcels      TEXT,  -- JSON, as it was first asked for
    tracking     TEXT,
    refusal_code TEXT,
    created_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE IF NOT EXISTS mails (
    id          INTEGER PRIMARY KEY,
    message_id  TEXT,           -- not unique: SMTP cannot dedupe
    sender      TEXT NOT NULL,
    recipient   TEXT NOT NULL,  -- several are separated by commas
    subject     TEXT NOT NULL,
    raw         BLOB NOT NULL,
    received_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

-- Distinct messages are counted without reading their bodies.
CREATE INDEX IF NOT EXISTS mails_by_message_id ON mails (message_id);

-- One row that the health check rewrites: only a write proves that writing works.
CREATE TABLE IF NOT EXISTS health (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    checked_at TEXT NOT NULL
);
