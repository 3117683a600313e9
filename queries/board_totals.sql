SELECT s.id AS stage, t.currency, count(*) AS deals, count(t.amount) AS with_amount, sum(t.amount) AS amount,
       count(*) FILTER (WHERE s.kind = 'open' AND t.stage_since + make_interval(days => s.time_limit_days::int) < %(now)s) AS rotting
  FROM views.deals t
  JOIN unnest(%(stage_id)s::uuid[], %(stage_kind)s::text[], %(stage_place)s::bigint[], %(stage_probability)s::bigint[],
              %(stage_time_limit_days)s::bigint[]) AS s(id, kind, place, probability, time_limit_days)
    ON s.id = t.stage_id
 WHERE t.firm_id = %(firm)s AND t.pipeline_id = %(id)s AND NOT t.archived AND t.status = s.kind
   AND {matching}
 GROUP BY s.id, t.currency
 ORDER BY s.id, t.currency NULLS LAST
