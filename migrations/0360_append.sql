-- One flush of the appender in one call, so that a command needs one round trip.
SET lock_timeout = '5s';

-- Appends a batch when everything is as the writer believes, and answers the position before it; writes nothing and answers NULL
-- when a stream stands elsewhere (`read_*`) or a command is known (`command_*`): then the writer asks for each command what is so.
-- The caller holds the append lock, taken by a statement of its own: each statement in here sees what was committed before.
-- `firm_index` counts from 1 and names the event's firm; `in_firm` and `command_end` count within the batch.
CREATE FUNCTION record.append(
    firms uuid[], firm_counts bigint[],
    read_firm uuid[], read_id uuid[], read_type text[], read_version bigint[],
    command_firm uuid[], command_ids uuid[], command_mac bytea[], command_end bigint[], command_answer bytea[],
    firm_index bigint[], in_firm bigint[], stream_ids uuid[], stream_versions bigint[], event_ids uuid[],
    recorded timestamptz[], occurred timestamptz[], event_command uuid[], stream_types text[], types text[], publics bytea[], sealeds bytea[],
    set_firm uuid[], set_id uuid[], set_type text[], set_version bigint[],
    key_firm uuid[], key_ids uuid[], key_subject uuid[], key_purpose text[], key_epoch bigint[], key_wrapped bytea[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    count  constant bigint := coalesce(cardinality(event_ids), 0);
    start  bigint;
    starts bigint[];
BEGIN
    -- LATERAL with OFFSET 0 asks the index for each key, whatever the planner believes of tables that were empty a minute ago.
    IF EXISTS (SELECT FROM unnest(read_firm, read_id, read_type, read_version) u(f, i, t, v)
            LEFT JOIN LATERAL (SELECT s.version FROM record.streams s WHERE s.firm_id = u.f AND s.stream_id = u.i AND s.stream_type = u.t OFFSET 0) s
                ON true WHERE coalesce(s.version, 0) <> u.v)
        OR EXISTS (SELECT FROM unnest(command_firm, command_ids) u(f, c),
            LATERAL (SELECT FROM record.commands k WHERE k.firm_id = u.f AND k.command_id = u.c OFFSET 0) k) THEN
        RETURN NULL;
    END IF;
    IF count = 0 THEN
        SELECT position INTO start FROM record.head;
    ELSE
        UPDATE record.head SET position = position + count RETURNING position - count INTO start;
        IF (start + count) / 1000000 <> start / 1000000 THEN
            PERFORM record.extend(start + count + 1000000);
        END IF;
        WITH moved AS (
            INSERT INTO record.firm_heads AS h (firm_id, firm_position) SELECT * FROM unnest(firms, firm_counts)
                ON CONFLICT (firm_id) DO UPDATE SET firm_position = h.firm_position + excluded.firm_position
                RETURNING firm_id, firm_position)
        SELECT array_agg(m.firm_position - u.n ORDER BY u.place) INTO starts
            FROM unnest(firms, firm_counts) WITH ORDINALITY u(f, n, place) JOIN moved m ON m.firm_id = u.f;
        INSERT INTO record.events (position, firm_id, firm_position, stream_id, stream_version, event_id, recorded_at, occurred_at,
                command_id, stream_type, type, public, sealed)
            SELECT start + u.place, firms[u.firm::int], starts[u.firm::int] + u.at, u.stream, u.version, u.event, u.recorded, u.occurred,
                u.command, u.kind, u.type, u.public, u.sealed
            FROM unnest(firm_index, in_firm, stream_ids, stream_versions, event_ids, recorded, occurred, event_command, stream_types,
                types, publics, sealeds) WITH ORDINALITY
                u(firm, at, stream, version, event, recorded, occurred, command, kind, type, public, sealed, place);
        INSERT INTO record.streams (firm_id, stream_id, stream_type, version) SELECT * FROM unnest(set_firm, set_id, set_type, set_version)
            ON CONFLICT (firm_id, stream_id, stream_type) DO UPDATE SET version = excluded.version;
        PERFORM pg_notify('chancery_events', (start + count)::text);
    END IF;
    INSERT INTO record.commands (firm_id, command_id, body_mac, position, answer)
        SELECT u.f, u.c, u.mac, start + u.at, u.answer
        FROM unnest(command_firm, command_ids, command_mac, command_end, command_answer) u(f, c, mac, at, answer);
    IF cardinality(key_ids) > 0 THEN
        INSERT INTO vault.data_keys (firm_id, key_id, subject_id, purpose, epoch, wrapped)
            SELECT * FROM unnest(key_firm, key_ids, key_subject, key_purpose, key_epoch::int[], key_wrapped);
    END IF;
    RETURN start;
END
$$;
REVOKE ALL ON FUNCTION record.append FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record.append TO chancery_record;
