-- Who does what only one may do at a time: the relay to Kafka, a rebuild of its topic. A lease that is not renewed is anyone's to take;
-- what it protects is protected by fencing as well, so a holder that slept through its lease does no harm when it wakes.
SET lock_timeout = '5s';

CREATE TABLE chancery.leases (
    name       text        PRIMARY KEY,
    holder     uuid        NOT NULL,
    renewed_at timestamptz NOT NULL
);
GRANT SELECT ON chancery.leases TO chancery_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON chancery.leases TO chancery_record;
