"""The SQL of the PostgreSQL store.

`state IN ('RUNNING', 'UNWINDING', 'STUCK')` is spelt out, because that is how the index `saga_waiting` is found.
"""

START = """
WITH asked AS (
    SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::jsonb[], $7::int[], $8::bool[])
        AS asked (saga_id, workflow, version, input, trace_context, entries, owned)
), started AS (
    INSERT INTO saga (saga_id, workflow, version, input, trace_context, state, owner, epoch, attempts, claimed_at)
    SELECT saga_id, workflow, version, input, trace_context, 'RUNNING', replica_id, 1, 1, entries
    FROM asked
    LEFT JOIN replica ON owned AND replica_id = $1 AND expires_at > clock_timestamp()
    ON CONFLICT (saga_id) DO NOTHING
    RETURNING saga_id, owner, created_at
), opened AS (
    INSERT INTO saga_log (saga_id, sequence, run, path, kind, payload, reason, message, epoch)
    SELECT entry.*, 1
    FROM unnest($9::uuid[], $10::int[], $11::int[], $12::text[], $13::text[], $14::bytea[], $15::text[], $16::text[])
        AS entry (saga_id, sequence, run, path, kind, payload, reason, message)
    JOIN started USING (saga_id)
)
SELECT saga_id::text, owner::text, created_at FROM started
"""
"""Rows of those that are new."""

APPEND = """
WITH asked AS (
    SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::int[], $6::float8[], $7::bool[])
        AS asked (saga_id, epoch, new_state, sequence, park_s, cancel_heard)
), held AS (
    SELECT asked.*, saga.state, saga.cancel_reason
    FROM asked JOIN saga ON saga.saga_id = asked.saga_id
    WHERE saga.owner = $1 AND saga.epoch = asked.epoch
      AND asked.sequence = 1 + (SELECT max(sequence) FROM saga_log WHERE saga_log.saga_id = asked.saga_id)
    FOR SHARE OF saga
), written AS (
    INSERT INTO saga_log (saga_id, sequence, run, path, kind, payload, reason, message, epoch)
    SELECT entry.*, held.epoch
    FROM unnest($8::uuid[], $9::int[], $10::int[], $11::text[], $12::text[], $13::bytea[], $14::text[], $15::text[])
        AS entry (saga_id, sequence, run, path, kind, payload, reason, message)
    JOIN held USING (saga_id)
    ON CONFLICT (saga_id, sequence) DO NOTHING
), moved AS (
    UPDATE saga
    SET state = new_state,
        owner = CASE WHEN new_state IN ('SUCCEEDED', 'UNWOUND') OR park_s IS NOT NULL THEN NULL ELSE saga.owner END,
        not_before = CASE
            WHEN park_s IS NULL THEN saga.not_before
            WHEN saga.cancel_reason IS NOT NULL AND NOT cancel_heard THEN clock_timestamp()
            ELSE clock_timestamp() + make_interval(secs => park_s)
        END,
        attempts = CASE WHEN park_s IS NULL THEN saga.attempts ELSE 0 END
    FROM held
    WHERE saga.saga_id = held.saga_id AND (held.state <> new_state OR park_s IS NOT NULL)
)
SELECT saga_id::text, now() AS at, cancel_reason FROM held
"""
"""Rows of those that are stored.

The saga's row is locked FOR SHARE together with the check of its owner and epoch, so an adoption and an append come
one after the other: a late commit of an earlier owner cannot slip in behind the adoption. An entry that is there
already is this statement's own: it was sent before, over a connection that was lost, and is being committed just now.
"""

STORED = """
SELECT saga_id::text, clock_timestamp() AS at, cancel_reason
FROM unnest($1::uuid[], $2::bigint[]) AS asked (saga_id, asked_epoch) JOIN saga USING (saga_id)
WHERE NOT EXISTS (
    SELECT FROM unnest($3::uuid[], $4::int[], $5::text[], $6::text[]) AS entry (entry_of, sequence, path, kind)
    WHERE entry_of = saga_id AND NOT EXISTS (
        SELECT FROM saga_log AS log
        WHERE log.saga_id = entry_of AND log.sequence = entry.sequence AND log.epoch = asked_epoch
          AND (log.kind, log.path) = (entry.kind, entry.path)
    )
)
"""
"""Rows of those whose entries are in the log, of the same epoch: they were stored by an earlier attempt."""

CANCEL = """
UPDATE saga
SET cancel_reason = $2,
    not_before = CASE WHEN not_before = 'infinity' THEN not_before ELSE LEAST(not_before, clock_timestamp()) END
WHERE saga_id = $1 AND cancel_reason IS NULL AND state IN ('RUNNING', 'UNWINDING', 'STUCK')
"""

RESUME = """
UPDATE saga SET attempts = 0, not_before = clock_timestamp()
WHERE saga_id = $1 AND owner IS NULL AND state IN ('RUNNING', 'UNWINDING', 'STUCK')
"""

CLAIM = """
WITH gone AS (
    SELECT replica_id FROM replica
    WHERE replica_id <> $1
      AND (expires_at <= clock_timestamp() OR (
          NOT EXISTS (SELECT FROM pg_stat_activity WHERE (pid, backend_start) = (session_pid, session_started))
          AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => $4)
      ))
), orphan AS (
    SELECT saga_id, owner AS former FROM saga
    WHERE owner = ANY (ARRAY(SELECT replica_id FROM gone))
      AND version = ANY ($2::text[])
      AND not_before <= now()
    LIMIT $3
    FOR UPDATE SKIP LOCKED
), due AS (
    SELECT saga_id, NULL::uuid AS former
    FROM unnest($2::text[]) AS deployed (version), LATERAL (
        SELECT saga_id FROM saga
        WHERE owner IS NULL AND state IN ('RUNNING', 'UNWINDING', 'STUCK')
          AND saga.version = deployed.version
          AND not_before <= now()
        ORDER BY not_before
        LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) AS first
    LIMIT $3
), counted AS (
    SELECT saga_id, found.former, last.sequence,
           CASE WHEN last.sequence > claimed_at THEN 1 ELSE attempts + 1 END AS attempts
    FROM (TABLE orphan UNION ALL TABLE due) AS found
    JOIN saga USING (saga_id),
    LATERAL (SELECT max(sequence) AS sequence FROM saga_log WHERE saga_log.saga_id = saga.saga_id) AS last
)
UPDATE saga
SET owner = CASE WHEN counted.attempts <= $5 THEN $1::uuid END,
    epoch = epoch + 1,
    attempts = counted.attempts,
    former = counted.former,
    claimed_at = counted.sequence + CASE WHEN counted.former IS NULL THEN 0 ELSE 1 END,
    not_before = CASE
        WHEN counted.attempts > $5 THEN 'infinity'
        WHEN counted.attempts > $6 THEN clock_timestamp() + make_interval(secs => 2 ^ (counted.attempts - $6 - 1))
        ELSE clock_timestamp()
    END
FROM counted WHERE saga.saga_id = counted.saga_id
RETURNING saga.saga_id::text, saga.owner IS NULL AS quarantined
"""
"""Sagas that wait are not even looked at: `now()`, not `clock_timestamp()`, is what an index can be searched by, and
with the order that the index has, no statistics make it look cheaper to read the whole table.

That a saga was adopted will be an entry of its log, but none that shows that it gets on: it is counted in.

The logs must be read by a later statement: this one may not see what was committed while it waited for locks.

A replica is also gone when the connection that kept its lease has closed. A server that has just started has closed
them all, so for the time of one lease it is no witness.
"""

OPEN = """
WITH open AS (
    SELECT state, version, not_before, created_at FROM saga
    WHERE owner = ANY (ARRAY(SELECT replica_id FROM replica))
    UNION ALL
    SELECT state, version, not_before, created_at FROM saga
    WHERE owner IS NULL AND state IN ('RUNNING', 'UNWINDING', 'STUCK')
)
SELECT state,
       count(open) AS count,
       coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_s,
       count(*) FILTER (WHERE not_before = 'infinity') AS quarantined,
       count(*) FILTER (WHERE version <> ALL ($1::text[])) AS blocked
FROM unnest(ARRAY['RUNNING', 'UNWINDING', 'STUCK']) AS every (state) LEFT JOIN open USING (state)
GROUP BY state
"""
"""Counted where the indexes of those that have an owner, and of those that wait, find them: ended ones are not read."""

OWNED = """
SELECT saga_id::text FROM saga WHERE owner = $1
"""

PUT_DOWN = """
UPDATE saga SET owner = NULL, not_before = clock_timestamp() + make_interval(secs => $4)
WHERE saga_id = $1 AND owner = $2 AND epoch = $3
"""

PUT_DOWN_ALL = """
UPDATE saga SET owner = NULL, not_before = clock_timestamp() + make_interval(secs => 2 ^ attempts)
WHERE saga_id = ANY ($1::uuid[]) AND owner = $2
"""

RENEW = """
WITH forgotten AS (
    DELETE FROM replica
    WHERE expires_at < clock_timestamp() - interval '1 hour'
      AND NOT EXISTS (SELECT FROM saga WHERE owner = replica_id)
)
INSERT INTO replica (replica_id, expires_at, session_pid, session_started)
SELECT $1, clock_timestamp() + make_interval(secs => $2), pid, backend_start
FROM pg_stat_activity WHERE pid = pg_backend_pid()
ON CONFLICT (replica_id) DO UPDATE SET
    expires_at = excluded.expires_at,
    session_pid = excluded.session_pid,
    session_started = excluded.session_started
"""

RELEASE = """
WITH ended AS (
    UPDATE replica SET expires_at = clock_timestamp() WHERE replica_id = $1
)
UPDATE saga SET owner = NULL, not_before = clock_timestamp(), attempts = 0 WHERE owner = $1
"""
"""The row of the replica stays: a claim of its own that commits only now must have an owner whose lease is over."""

_RECORD = """
SELECT saga.saga_id::text, workflow, version, input, trace_context, state, owner::text, former::text,
       saga.epoch AS saga_epoch,
       attempts, not_before = 'infinity' AS quarantined, cancel_reason, created_at, clock_timestamp() AS read_at
"""

READ = (
    _RECORD
    + """, sequence, run, path, kind, payload, reason, message, saga_log.epoch, at
FROM saga JOIN saga_log USING (saga_id)
WHERE saga_id = ANY ($1::uuid[])
ORDER BY saga_id, sequence
"""
)
"""One row per entry: a saga and its log, as of one moment."""

LIST = (
    _RECORD
    + """, (SELECT max(at) FROM saga_log WHERE saga_log.saga_id = saga.saga_id) AS updated_at
FROM saga
WHERE state = ANY ($1::text[])
  AND ($2::bool IS NULL OR $2 = (version <> ALL ($3::text[]) AND state IN ('RUNNING', 'UNWINDING', 'STUCK')))
  AND ($4::bool IS NULL OR $4 = (not_before = 'infinity'))
  AND ($5::timestamptz IS NULL OR (created_at, saga_id) < ($5, $6::uuid))
ORDER BY created_at DESC, saga_id DESC
LIMIT $7
"""
)
