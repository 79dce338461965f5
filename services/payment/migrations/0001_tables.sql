CREATE TABLE IF NOT EXISTS payment (
    payment_id   text PRIMARY KEY,                    -- also the gateway's idempotency key
    order_id     uuid NOT NULL,
    state        text NOT NULL,
    currency     text,                                -- with amount_minor; a tombstone has neither
    amount_minor bigint,
    token        text NOT NULL,                       -- the gateway's name for a card, never the card
    decline_code text NOT NULL,
    attempted_at timestamptz NOT NULL DEFAULT now()   -- when somebody last set out to ask the gateway
);
CREATE INDEX IF NOT EXISTS payment_unsettled ON payment (attempted_at) WHERE state IN ('CHARGING', 'REFUNDING');
