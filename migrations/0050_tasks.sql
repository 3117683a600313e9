SET lock_timeout = '5s';

CREATE TABLE views.tasks (
    firm_id          uuid NOT NULL,
    id               uuid NOT NULL,
    version          bigint NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    position         bigint NOT NULL,
    title            text,
    description      text,
    kind             text NOT NULL,
    priority         text NOT NULL,
    status           text NOT NULL,
    blocked          boolean NOT NULL,
    block_reason     text,
    project          uuid,
    contact          uuid,
    organisation     uuid,
    deal             uuid,
    documents        uuid[] NOT NULL,
    assignee         uuid,
    due_at           timestamptz,
    estimate_minutes bigint,
    labels           text[] NOT NULL,
    starts_at        timestamptz,
    ends_at          timestamptz,
    started_at       timestamptz,
    working_since    timestamptz,
    worked_seconds   bigint NOT NULL,
    sessions         bigint NOT NULL,
    completed_at     timestamptz,
    completions      bigint NOT NULL,
    cancelled_at     timestamptz,
    cancel_reason    text,
    reopen_reason    text,
    activity         text,
    resource         text,
    comments         bigint NOT NULL,
    last_comment     uuid,
    source           text,
    source_id        text,
    archived         boolean NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX tasks_by_project ON views.tasks (firm_id, project, id) WHERE project IS NOT NULL;
CREATE INDEX tasks_by_assignee ON views.tasks (firm_id, assignee, status, due_at);
CREATE INDEX tasks_by_due ON views.tasks (firm_id, due_at, id);
CREATE INDEX tasks_by_contact ON views.tasks (firm_id, contact) WHERE contact IS NOT NULL;
CREATE INDEX tasks_by_organisation ON views.tasks (firm_id, organisation) WHERE organisation IS NOT NULL;
CREATE INDEX tasks_by_deal ON views.tasks (firm_id, deal) WHERE deal IS NOT NULL;
CREATE INDEX tasks_by_creation ON views.tasks (firm_id, created_at, id);
CALL chancery.own_view('views.tasks');

CREATE TABLE views.task_comments (
    firm_id    uuid NOT NULL,
    id         uuid NOT NULL,
    version    bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    position   bigint NOT NULL,
    task       uuid NOT NULL,
    contact    uuid,
    author     text NOT NULL,
    text       text,
    said_at    timestamptz NOT NULL,
    amended_at timestamptz,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX task_comments_by_task ON views.task_comments (firm_id, task, said_at);
CREATE INDEX task_comments_by_time ON views.task_comments (firm_id, said_at, id);
CALL chancery.own_view('views.task_comments');

CREATE TABLE views.projects (
    firm_id       uuid NOT NULL,
    id            uuid NOT NULL,
    version       bigint NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    position      bigint NOT NULL,
    name          text,
    description   text,
    status        text NOT NULL,
    contact       uuid,
    organisation  uuid,
    deal          uuid,
    start_on      date,
    calendar      jsonb,
    members       jsonb NOT NULL,
    tasks         bigint NOT NULL,
    dependencies  bigint NOT NULL,
    completed_at  timestamptz,
    cancelled_at  timestamptz,
    cancel_reason text,
    source        text,
    source_id     text,
    archived      boolean NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX projects_by_status ON views.projects (firm_id, status, id);
CREATE INDEX projects_by_contact ON views.projects (firm_id, contact) WHERE contact IS NOT NULL;
CREATE INDEX projects_by_organisation ON views.projects (firm_id, organisation) WHERE organisation IS NOT NULL;
CREATE INDEX projects_by_deal ON views.projects (firm_id, deal) WHERE deal IS NOT NULL;
CREATE INDEX projects_by_creation ON views.projects (firm_id, created_at, id);
CALL chancery.own_view('views.projects');

CREATE TABLE views.dependencies (
    firm_id     uuid NOT NULL,
    id          uuid NOT NULL,
    version     bigint NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    position    bigint NOT NULL,
    project     uuid NOT NULL,
    predecessor uuid NOT NULL,
    successor   uuid NOT NULL,
    type        text NOT NULL,
    lag         bigint NOT NULL,
    PRIMARY KEY (firm_id, id)
);
CREATE INDEX dependencies_by_project ON views.dependencies (firm_id, project, id);
CREATE INDEX dependencies_by_successor ON views.dependencies (firm_id, successor);
CREATE INDEX dependencies_by_predecessor ON views.dependencies (firm_id, predecessor);
CALL chancery.own_view('views.dependencies');
