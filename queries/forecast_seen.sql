SELECT t.currency, count(*) AS deals, coalesce(sum(t.amount), 0) AS amount,
       coalesce(sum(t.amount * coalesce(s.probability, 0) / 100), 0) AS weighted,
       count(*) FILTER (WHERE t.amount IS NULL) AS without_amount,
       count(*) FILTER (WHERE t.expected_close < %(first)s) AS overdue
  FROM at.deals t
  JOIN unnest(%(stage_id)s::uuid[], %(stage_kind)s::text[], %(stage_place)s::bigint[], %(stage_probability)s::bigint[],
              %(stage_time_limit_days)s::bigint[]) AS s(id, kind, place, probability, time_limit_days)
    ON s.id = t.stage_id
 WHERE t.firm_id = %(firm)s AND t.pipeline_id = %(id)s AND t.status = 'open' AND NOT t.archived
   AND t.expected_close < %(end)s AND (%(overdue)s OR t.expected_close >= %(first)s) AND {matching}
 GROUP BY t.currency
 ORDER BY t.currency NULLS LAST
