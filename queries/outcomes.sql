SELECT date_trunc('month', t.closed_on)::date AS month, t.status, t.currency, count(*) AS deals, sum(t.amount) AS amount,
       sum(extract(epoch FROM t.closed_at - t.opened_at)) AS seconds
  FROM views.deals t
 WHERE t.firm_id = %(firm)s AND t.pipeline_id = %(id)s AND t.closed_on >= %(first)s AND t.closed_on < %(end)s
   AND t.status IN ('won', 'lost') AND NOT t.archived AND {matching}
 GROUP BY 1, 2, 3
 ORDER BY 1, 2, 3 NULLS LAST
