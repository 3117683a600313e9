-- Which process carries a view: its shard, "1/2".
SET lock_timeout = '5s';

ALTER TABLE chancery.projections ADD COLUMN process text NOT NULL DEFAULT '';
