SELECT t.id, t.title, t.status, t.priority, t.blocked, t.due_at, t.assignee, t.project, coalesce(t.due_at < %(now)s, false) AS late,
       count(*) OVER () AS tasks,
       count(*) FILTER (WHERE t.status NOT IN ('completed', 'cancelled')) OVER () AS open,
       count(*) FILTER (WHERE t.status NOT IN ('completed', 'cancelled') AND t.due_at < %(now)s) OVER () AS overdue
  FROM views.tasks t
 WHERE t.firm_id = %(firm)s AND t.{column} = ANY (%(ids)s::uuid[]) AND NOT t.archived
 ORDER BY (t.status NOT IN ('completed', 'cancelled')) DESC, t.due_at NULLS LAST, t.id
 LIMIT %(limit)s
