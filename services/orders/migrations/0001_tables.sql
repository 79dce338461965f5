CREATE TABLE IF NOT EXISTS orders (
    order_id     uuid PRIMARY KEY,           -- UUIDv7: newest first is descending
    choreographed boolean NOT NULL,
    customer_id  text NOT NULL,
    skus         text[] NOT NULL,
    quantities   bigint[] NOT NULL,
    state        text NOT NULL,
    reason       text,
    learned      text[] NOT NULL,
    tracking     text,
    currency     text,
    total_minor  bigint,
    trace        jsonb NOT NULL,             -- the watchdog's cancel belongs to the order's own trace
    due_at       timestamptz,                -- when to cancel a PENDING one, or report a CANCELLING one; not a saga's
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS orders_due ON orders (due_at) WHERE state = 'PENDING' AND due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS orders_not_undone ON orders (due_at) WHERE state = 'CANCELLING';
CREATE INDEX IF NOT EXISTS orders_by_state ON orders (state, order_id DESC);

CREATE TABLE IF NOT EXISTS timeline (
    id       bigint GENERATED ALWAYS AS IDENTITY,
    order_id uuid NOT NULL,
    at       timestamptz NOT NULL,           -- by the clock of the source
    source   text NOT NULL,
    event    text NOT NULL,
    detail   text NOT NULL,
    PRIMARY KEY (order_id, event)            -- each thing happens to an order once
);
