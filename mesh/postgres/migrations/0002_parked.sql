-- Of `mesh.events.parked`.

CREATE TABLE IF NOT EXISTS parked (
    place    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the order of the facts of a key
    durable  text NOT NULL,                                   -- the group, as in the inbox
    key      text NOT NULL,
    event_id text NOT NULL,
    reason   text NOT NULL,
    since    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (durable, event_id)
);
CREATE INDEX IF NOT EXISTS parked_key ON parked (durable, key, place);
