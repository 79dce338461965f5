"""The SQL of the PostgreSQL store.

`state IN ('RUNNING', 'UNWINDING', 'STUCK')` is spelt out, because that is how the index `saga_open` is found.
"""

START = """
WITH asked AS (
    SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::jsonb[], $7::bool[])
        AS asked (saga_id, workflow, version, input, trace_context, owned)
), started AS (
    INSERT INTO saga (saga_id, workflow, version, input, trace_context, state, owner, epoch, attempts)
    SELECT saga_id, workflow, version, input, trace_context, 'RUNNING', replica_id, 1, 1
    FROM asked
    LEFT JOIN replica ON owned AND replica_id = $1 AND expires_at > clock_timestamp()
    ON CONFLICT (saga_id) DO NOTHING
    RETURNING saga_id, owner, created_at
), opened AS (
    INSERT INTO saga_log (saga_id, sequence, run, path, kind, payload, reason, message, epoch)
    SELECT entry.*, 1
    FROM unnest($8::uuid[], $9::int[], $10::int[], $11::text[], $12::text[], $13::bytea[], $14::text[], $15::text[])
        AS entry (saga_id, sequence, run, path, kind, payload, reason, message)
    JOIN started USING (saga_id)
)
SELECT saga_id::text, owner::text, created_at FROM started
"""
"""Rows of those that are new."""

APPEND = """
WITH asked AS (
    SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::int[]) AS asked (saga_id, epoch, state, sequence)
), entry AS (
    SELECT *
    FROM unnest($6::uuid[], $7::int[], $8::int[], $9::text[], $10::text[], $11::bytea[], $12::text[], $13::text[])
        AS entry (saga_id, sequence, run, path, kind, payload, reason, message)
), held AS (
    SELECT saga.saga_id, saga.epoch, saga.state, saga.cancel_reason, asked.state AS new_state,
           asked.sequence = 1 + (SELECT max(sequence) FROM saga_log WHERE saga_log.saga_id = asked.saga_id) AS fits
    FROM asked JOIN saga ON saga.saga_id = asked.saga_id
    WHERE saga.owner = $1 AND saga.epoch = asked.epoch
    FOR SHARE OF saga
), written AS (
    INSERT INTO saga_log (saga_id, sequence, run, path, kind, payload, reason, message, epoch)
    SELECT entry.*, held.epoch FROM entry JOIN held USING (saga_id)
    WHERE held.fits
    ON CONFLICT (saga_id, sequence) DO NOTHING
    RETURNING saga_id
), moved AS (
    UPDATE saga
    SET state = held.new_state,
        owner = CASE WHEN held.new_state IN ('SUCCEEDED', 'UNWOUND') THEN NULL ELSE saga.owner END
    FROM held
    WHERE saga.saga_id = held.saga_id
      AND held.state <> held.new_state
      AND held.saga_id IN (SELECT saga_id FROM written)
)
SELECT asked.saga_id::text,
       held.cancel_reason,
       CASE
           WHEN asked.saga_id IN (SELECT saga_id FROM written) THEN true
           ELSE NOT EXISTS (
               SELECT FROM entry
               LEFT JOIN saga_log AS log
                   ON (log.saga_id, log.sequence, log.epoch) = (entry.saga_id, entry.sequence, asked.epoch)
                   AND (log.kind, log.path) = (entry.kind, entry.path)
               WHERE entry.saga_id = asked.saga_id AND log.saga_id IS NULL
           )
       END AS stored
FROM asked LEFT JOIN held USING (saga_id)
"""
"""One row per saga: whether it was stored, now or by an earlier attempt of the same epoch.

The saga's row is locked FOR SHARE together with the check of its owner and epoch, so an adoption and an append come
one after the other: a late commit of an earlier owner cannot slip in behind the adoption.
"""

CANCEL = """
UPDATE saga SET cancel_reason = $2
WHERE saga_id = $1 AND cancel_reason IS NULL AND state IN ('RUNNING', 'UNWINDING', 'STUCK')
"""

CLAIM = """
WITH orphan AS (
    SELECT saga_id FROM saga
    WHERE state IN ('RUNNING', 'UNWINDING', 'STUCK')
      AND (owner IS NULL OR owner = ANY (ARRAY(
          SELECT replica_id FROM replica WHERE expires_at <= clock_timestamp() AND replica_id <> $1
      )))
      AND version = ANY ($2::text[])
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)
UPDATE saga SET owner = $1, epoch = epoch + 1, attempts = attempts + 1
FROM orphan WHERE saga.saga_id = orphan.saga_id
RETURNING saga.saga_id::text
"""
"""The logs must be read by a later statement: this one may not see what was committed while it waited for locks."""

OWNED = """
SELECT saga_id::text FROM saga WHERE owner = $1 AND state IN ('RUNNING', 'UNWINDING', 'STUCK')
"""

RENEW = """
WITH forgotten AS (
    DELETE FROM replica
    WHERE expires_at < clock_timestamp() - interval '1 hour'
      AND NOT EXISTS (
          SELECT FROM saga WHERE owner = replica_id AND state IN ('RUNNING', 'UNWINDING', 'STUCK')
      )
)
INSERT INTO replica (replica_id, expires_at) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (replica_id) DO UPDATE SET expires_at = excluded.expires_at
"""

RELEASE = """
WITH ended AS (
    DELETE FROM replica WHERE replica_id = $1
)
UPDATE saga SET owner = NULL WHERE owner = $1 AND state IN ('RUNNING', 'UNWINDING', 'STUCK')
"""

_RECORD = """
SELECT saga.saga_id::text, workflow, version, input, trace_context, state, owner::text, saga.epoch AS saga_epoch,
       attempts, cancel_reason, created_at
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
  AND ($4::timestamptz IS NULL OR (created_at, saga_id) < ($4, $5::uuid))
ORDER BY created_at DESC, saga_id DESC
LIMIT $6
"""
)
