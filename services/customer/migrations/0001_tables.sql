CREATE TABLE IF NOT EXISTS placed (
    order_id       uuid PRIMARY KEY,
    mode           text NOT NULL,
    purchase       bytea NOT NULL,
    trace          jsonb NOT NULL,
    placed_at      timestamptz NOT NULL,
    handed_over_at timestamptz
);
CREATE INDEX IF NOT EXISTS placed_waiting ON placed (placed_at) WHERE handed_over_at IS NULL;
