-- Roles and schemas. The login that migrates owns nothing either: everything belongs to chancery_owner, which can't log in.
-- chancery_app serves reads of one firm at a time; chancery_record appends and projects for all firms. Neither owns a table,
-- neither can bypass row-level security.
SET lock_timeout = '5s';

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['chancery_owner', 'chancery_app', 'chancery_record'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of the cluster made it at the same moment
            END;
        END IF;
    END LOOP;
END
$$;

GRANT chancery_owner, chancery_app, chancery_record TO CURRENT_USER;

ALTER SCHEMA chancery OWNER TO chancery_owner;
ALTER TABLE chancery.migrations OWNER TO chancery_owner;
CREATE SCHEMA record AUTHORIZATION chancery_owner;
CREATE SCHEMA vault AUTHORIZATION chancery_owner;
CREATE SCHEMA views AUTHORIZATION chancery_owner;
GRANT USAGE ON SCHEMA chancery, record, views TO chancery_app, chancery_record;
GRANT USAGE ON SCHEMA vault TO chancery_app, chancery_record;

GRANT SELECT ON chancery.migrations TO chancery_app, chancery_record;
SET ROLE chancery_owner;

-- The firm of this transaction; nobody when it was never set or was set by an earlier transaction (then it reads '').
CREATE FUNCTION chancery.firm() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('chancery.firm', true), '')::uuid;

-- Row-level security as every table of a firm has it: an application session sees its own firm, the record's writer all.
CREATE PROCEDURE chancery.fence(target regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY own_firm ON %s TO chancery_app USING (firm_id = (SELECT chancery.firm()))', target);
    EXECUTE format('CREATE POLICY all_firms ON %s TO chancery_record USING (true) WITH CHECK (true)', target);
END
$$;

-- A view's table: read by the application, written by its projection.
CREATE PROCEDURE chancery.own_view(target regclass) LANGUAGE plpgsql AS $$
BEGIN
    CALL chancery.fence(target);
    EXECUTE format('GRANT SELECT ON %s TO chancery_app', target);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %s TO chancery_record', target);
END
$$;
