SELECT date_trunc('week', t.closed_on::timestamp)::date AS week, t.status, t.currency, count(*) AS deals, sum(t.amount) AS amount
  FROM views.deals t
 WHERE t.firm_id = %(firm)s AND t.status IN ('won', 'lost') AND NOT t.archived AND t.closed_on >= %(first)s AND t.closed_on < %(end)s
 GROUP BY 1, 2, 3
 ORDER BY 1, 2, 3 NULLS LAST
