CREATE TABLE IF NOT EXISTS saga (
    saga_id       uuid PRIMARY KEY,
    workflow      text NOT NULL,
    version       text NOT NULL,               -- fingerprint of the definition it was started with
    input         bytea NOT NULL,              -- google.protobuf.Any
    trace_context jsonb NOT NULL,              -- W3C headers
    state         text NOT NULL,
    owner         uuid,                        -- the replica that runs it; nobody runs one that waits or has ended
    epoch         bigint NOT NULL,             -- raised at each change of owner
    former        uuid,                        -- whom it was adopted from, when it was last taken up
    not_before    timestamptz NOT NULL DEFAULT clock_timestamp(),  -- nobody takes it up earlier; infinity: quarantined
    attempts      integer NOT NULL,            -- how often it was taken up since it last got on, or was put down in order
    claimed_at    integer NOT NULL,            -- it has got on since it was taken up where the log is longer
    cancel_reason text,                        -- set once a cancel was asked for
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (owner IS NULL OR state NOT IN ('SUCCEEDED', 'UNWOUND'))
);
CREATE INDEX IF NOT EXISTS saga_newest ON saga (created_at, saga_id);
CREATE INDEX IF NOT EXISTS saga_owned ON saga (owner) WHERE owner IS NOT NULL;
CREATE INDEX IF NOT EXISTS saga_waiting ON saga (version, not_before)
    WHERE owner IS NULL AND state IN ('RUNNING', 'UNWINDING', 'STUCK');

CREATE TABLE IF NOT EXISTS saga_log (
    saga_id  uuid NOT NULL,
    sequence integer NOT NULL,                 -- from 1
    run      integer NOT NULL,                 -- which run of the path
    path     text NOT NULL,                    -- of the step; empty where it is about the saga
    kind     text NOT NULL,
    payload  bytea NOT NULL,                   -- what a step answered
    reason   text NOT NULL,
    message  text NOT NULL,
    epoch    bigint NOT NULL,                  -- the writer's
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga_id, sequence)
);

-- One row per incarnation of a replica. It stays as long as a saga may name it as its owner.
CREATE TABLE IF NOT EXISTS replica (
    replica_id      uuid PRIMARY KEY,
    expires_at      timestamptz NOT NULL,      -- its lease, by this database's clock
    session_pid     integer NOT NULL,          -- the connection that keeps the lease: it closes when the process ends
    session_started timestamptz NOT NULL
);
