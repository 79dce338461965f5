CREATE TABLE IF NOT EXISTS shipment (
    shipment_id  text PRIMARY KEY,                    -- also the carrier's idempotency key
    order_id     uuid NOT NULL,
    state        text NOT NULL,
    skus         text[] NOT NULL,                     -- with quantities and where to: what the carrier is told
    quantities   bigint[] NOT NULL,
    postcode     text,                                -- with country; a tombstone has neither
    country      text,
    tracking     text NOT NULL,
    refusal_code text NOT NULL,
    attempted_at timestamptz NOT NULL DEFAULT now()   -- when somebody last set out to ask the carrier
);
CREATE INDEX IF NOT EXISTS shipment_unsettled ON shipment (attempted_at) WHERE state IN ('BOOKING', 'CANCELLING');
