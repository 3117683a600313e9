SELECT t.assignee AS member,
       CASE WHEN t.due_at IS NULL THEN 'undated' WHEN t.due_at < %(first)s THEN 'overdue' WHEN t.due_at >= %(end)s THEN 'later' END AS beside,
       CASE WHEN t.due_at >= %(first)s AND t.due_at < %(end)s THEN date_trunc('week', t.due_at, %(zone)s) END AS week,
       count(*) AS tasks, count(*) FILTER (WHERE t.estimate_minutes IS NULL) AS unestimated,
       sum(greatest(0, coalesce(t.estimate_minutes, 0) - t.worked_seconds / 60))::bigint AS minutes
  FROM views.tasks t
 WHERE t.firm_id = %(firm)s AND t.assignee IS NOT NULL AND t.status NOT IN ('completed', 'cancelled') AND NOT t.archived
   AND (%(member)s::uuid IS NULL OR t.assignee = %(member)s)
 GROUP BY 1, 2, 3
 ORDER BY 1, 3
