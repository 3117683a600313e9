WITH mine AS MATERIALIZED (
    SELECT t.id, t.title, t.kind, t.priority, t.status, t.blocked, t.block_reason, t.project, t.contact, t.organisation, t.deal, t.due_at,
           t.estimate_minutes, t.worked_seconds, t.started_at, t.labels, t.version,
           coalesce(t.due_at < %(now)s, false) AS late,
           coalesce(t.due_at < %(day)s, false) AS overdue,
           coalesce(t.due_at >= %(day)s AND t.due_at < %(day_end)s, false) AS due_today,
           t.status = 'in_progress' AS in_progress,
           EXISTS (SELECT FROM views.dependencies d
                     JOIN views.tasks p ON p.firm_id = %(firm)s AND p.id = d.predecessor
                    WHERE d.firm_id = %(firm)s AND d.successor = t.id AND NOT p.archived
                      AND (d.type = 'finish_to_start' AND p.status NOT IN ('completed', 'cancelled')
                           OR d.type = 'start_to_start' AND p.started_at IS NULL AND p.status <> 'cancelled')) AS waiting
      FROM views.tasks t
     WHERE t.firm_id = %(firm)s AND t.assignee = %(id)s AND t.status NOT IN ('completed', 'cancelled') AND NOT t.archived
), placed AS (
    SELECT m.*, g.name AS list, row_number() OVER (PARTITION BY g.name ORDER BY m.due_at, m.id) AS place,
           count(*) OVER (PARTITION BY g.name) AS tasks
      FROM mine m
     CROSS JOIN LATERAL (VALUES ('overdue', m.overdue), ('due_today', m.due_today), ('in_progress', m.in_progress),
                                ('blocked', m.blocked), ('waiting', m.waiting)) AS g(name, there)
     WHERE g.there
)
SELECT * FROM placed WHERE place <= %(limit)s ORDER BY list, place
