SELECT count(*) AS open, count(*) FILTER (WHERE t.due_at < %(now)s) AS overdue, count(*) FILTER (WHERE t.blocked) AS blocked,
       count(*) FILTER (WHERE t.assignee IS NULL) AS unassigned, count(*) FILTER (WHERE t.status = 'in_progress') AS in_progress
  FROM views.tasks t
 WHERE t.firm_id = %(firm)s AND t.status NOT IN ('completed', 'cancelled') AND NOT t.archived
