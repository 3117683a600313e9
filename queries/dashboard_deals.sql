SELECT t.currency, count(*) AS deals, sum(t.amount) AS amount,
       sum(t.amount * coalesce(s.probability, t.probability, 0) / 100) AS weighted,
       count(*) FILTER (WHERE CASE WHEN s.id IS NULL THEN t.stage_due
                                   ELSE t.stage_since + make_interval(days => s.time_limit_days::int) END < %(now)s) AS rotting,
       count(*) FILTER (WHERE t.expected_close < %(today)s) AS overdue_to_close
  FROM views.deals t
  LEFT JOIN views.stages s ON s.firm_id = %(firm)s AND s.id = t.stage_id
 WHERE t.firm_id = %(firm)s AND t.status = 'open' AND NOT t.archived
 GROUP BY t.currency
 ORDER BY t.currency NULLS LAST
