CREATE TABLE IF NOT EXISTS stock (
    sku         text PRIMARY KEY,
    name        text NOT NULL,
    currency    text NOT NULL,
    price_minor bigint NOT NULL CHECK (price_minor >= 0),
    available   bigint NOT NULL CHECK (available >= 0),
    delivered   bigint NOT NULL               -- all that was ever added, less what was taken by hand: nothing else may differ
);

CREATE TABLE IF NOT EXISTS reservation (
    reservation_id text PRIMARY KEY,
    order_id       uuid NOT NULL,
    state          text NOT NULL,
    skus           text[] NOT NULL,
    quantities     bigint[] NOT NULL,
    currency       text NOT NULL,
    total_minor    bigint NOT NULL
);
