CREATE TABLE IF NOT EXISTS notification (
    notification_id text PRIMARY KEY,                 -- also the left part of the Message-ID
    order_id        uuid NOT NULL,
    state           text NOT NULL,
    email           text NOT NULL,
    currency        text NOT NULL,
    amount_minor    bigint NOT NULL,
    tracking        text NOT NULL,
    sent_at         timestamptz,
    attempted_at    timestamptz NOT NULL DEFAULT now(),  -- when somebody last set out to ask the mail server
    number          bigint GENERATED ALWAYS AS IDENTITY  -- the order in which they came to be
);
CREATE INDEX IF NOT EXISTS notification_unsettled ON notification (attempted_at) WHERE state = 'SENDING';
CREATE INDEX IF NOT EXISTS notification_by_number ON notification (number);
CREATE INDEX IF NOT EXISTS notification_by_order ON notification ((order_id::text), number);
