-- The next events as the parts of their messages, taken apart here so that who hands them to Kafka need not.
-- $1: the type of streams that belong to others, $2: the position before the first, $3: at most so many events, $4: at most so many bytes
-- (but one event at least). An error when a leaf can't be read at all; NULL for what it lacks.
SELECT
    e.position, uuid_send(e.firm_id), (date_part('epoch', e.recorded_at) * 1000)::int8, e.bytes::int8, e.stream_type = $1,
    sha256('\x00'::bytea || e.public), e.sealed, leaf.data, leaf.causationid, leaf.correlationid, leaf.origin,
    leaf.actor, leaf.commandid, leaf.id, leaf.recordedtime, leaf.source, leaf.specversion, leaf.streamversion, leaf.subject, leaf.time, leaf.type,
    e.position::text, e.firm_position::text
FROM (
    SELECT *, sum(octet_length(public) + coalesce(octet_length(sealed), 0)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (SELECT * FROM record.events WHERE position > $2 ORDER BY position LIMIT $3) next
) e
LEFT JOIN LATERAL json_to_record(CASE WHEN e.stream_type <> $1 THEN convert_from(e.public, 'UTF8')::json END) AS leaf (
    actor text, causationid text, commandid text, correlationid text, data text, id text, origin text, recordedtime text, source text,
    specversion text, streamversion text, subject text, time text, type text
) ON true
WHERE e.bytes <= $4 OR e.position = $2 + 1
ORDER BY e.position
