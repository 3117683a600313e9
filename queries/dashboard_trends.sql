SELECT date_trunc('week', t.created_at, %(zone)s) AS week, t.name, count(*) AS events
  FROM views.timeline t
 WHERE t.firm_id = %(firm)s AND t.role = 'self' AND t.created_at >= %(since)s AND t.created_at < %(until)s AND t.name = ANY (%(names)s)
 GROUP BY 1, 2
