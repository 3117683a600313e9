-- Erasures that a restore made necessary again: their keys are destroyed, and stores that have not answered yet are asked again.
SET lock_timeout = '5s';

CREATE TABLE chancery.erasures_again (
    firm_id uuid NOT NULL,
    request uuid NOT NULL,
    PRIMARY KEY (firm_id, request)
);
CALL chancery.fence('chancery.erasures_again');
GRANT SELECT, INSERT, DELETE ON chancery.erasures_again TO chancery_record;
