-- One command with one event, appended in one call that is its own transaction.
SET lock_timeout = '5s';

-- Appends what `record.append` would for a batch of one command that read one stream and adds one event to it, and answers the event's
-- position; writes nothing and answers NULL when the stream does not stand at `read` or the command is known, and where a transaction
-- sees only what was committed before it began: the writer then asks in a transaction that says how it is isolated.
-- It takes the append lock itself: in a volatile function at READ COMMITTED each statement sees what was committed before that statement.
-- Without scans: a plan made while a table was small would scan it for as long as the plan is kept.
CREATE FUNCTION record.append_one(
    firm uuid, stream uuid, kind text, read bigint, command uuid, mac bytea, told bytea,
    event uuid, recorded timestamptz, occurred timestamptz, name text, leaf bytea, shut bytea
) RETURNS bigint LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
    at      bigint;
    firm_at bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(7020240002);
    IF EXISTS (SELECT FROM record.commands c WHERE c.firm_id = firm AND c.command_id = command) THEN
        RETURN NULL;
    END IF;
    IF read = 0 THEN
        INSERT INTO record.streams (firm_id, stream_id, stream_type, version) VALUES (firm, stream, kind, 1) ON CONFLICT DO NOTHING;
    ELSE
        UPDATE record.streams s SET version = read + 1
            WHERE s.firm_id = firm AND s.stream_id = stream AND s.stream_type = kind AND s.version = read;
    END IF;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE record.head SET position = position + 1 RETURNING position INTO at;
    IF at % 1000000 = 0 THEN
        PERFORM record.extend(at + 1000000);
    END IF;
    INSERT INTO record.firm_heads AS h (firm_id, firm_position) VALUES (firm, 1)
        ON CONFLICT (firm_id) DO UPDATE SET firm_position = h.firm_position + 1
        RETURNING h.firm_position - 1 INTO firm_at;
    INSERT INTO record.events (position, firm_id, firm_position, stream_id, stream_version, event_id, recorded_at, occurred_at,
            command_id, stream_type, type, public, sealed)
        VALUES (at, firm, firm_at, stream, read + 1, event, recorded, occurred, command, kind, name, leaf, shut);
    INSERT INTO record.commands (firm_id, command_id, body_mac, position, answer) VALUES (firm, command, mac, at, told);
    PERFORM pg_notify('chancery_events', at::text);
    RETURN at;
END
$$;
REVOKE ALL ON FUNCTION record.append_one FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record.append_one TO chancery_record;
