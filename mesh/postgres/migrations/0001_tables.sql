-- The kit's own tables, in each service's database.

CREATE TABLE IF NOT EXISTS handled (
    key         text PRIMARY KEY,        -- request/<its id>, or event/<durable>/<its id>
    fingerprint bytea NOT NULL,          -- of the request, so that an id used twice is told apart from a repeat
    answer      bytea,                   -- the response, where it was a yes
    refusal     jsonb,                   -- kind, reason, message and metadata, where it was a no
    handled_at  timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS fence (
    saga_id   uuid PRIMARY KEY,          -- of a saga that changed owner
    epoch     bigint NOT NULL,           -- the newest heard of; a lower one is refused
    raised_at timestamptz NOT NULL DEFAULT now()  -- or last confirmed
);
CREATE TABLE IF NOT EXISTS outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          text NOT NULL,          -- facts with the same key are sent one after the other
    stream       text NOT NULL,
    subject      text NOT NULL,
    headers      jsonb NOT NULL,         -- CloudEvents attributes and the trace context
    payload      bytea NOT NULL,
    announced_at timestamptz NOT NULL DEFAULT now(),
    sent_at      timestamptz
);
CREATE INDEX IF NOT EXISTS handled_at ON handled USING brin (handled_at);
CREATE INDEX IF NOT EXISTS outbox_announced ON outbox USING brin (announced_at);
CREATE INDEX IF NOT EXISTS outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
