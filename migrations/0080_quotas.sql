-- How many requests each firm made on a day: operational, outside the record, counted in memory and added up here every few seconds.
SET lock_timeout = '5s';

CREATE TABLE chancery.quotas (
    firm_id  uuid   NOT NULL,
    day      date   NOT NULL,
    requests bigint NOT NULL,
    PRIMARY KEY (firm_id, day)
) WITH (fillfactor = 50);
CALL chancery.fence('chancery.quotas');
GRANT SELECT ON chancery.quotas TO chancery_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON chancery.quotas TO chancery_record;
