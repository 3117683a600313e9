WITH stays AS (
    SELECT e.stage_id, n.left_at,
           greatest(0, extract(epoch FROM coalesce(n.left_at, %(now)s) - e.entered_at)) AS seconds,
           n.left_at IS NULL AND s.kind <> 'open' AS at_rest
      FROM views.stage_entries e
      JOIN views.deals t ON t.firm_id = %(firm)s AND t.id = e.deal_id
      JOIN unnest(%(stage_id)s::uuid[], %(stage_kind)s::text[], %(stage_place)s::bigint[], %(stage_probability)s::bigint[],
              %(stage_time_limit_days)s::bigint[]) AS s(id, kind, place, probability, time_limit_days)
        ON s.id = e.stage_id
      LEFT JOIN LATERAL (
           SELECT n.entered_at AS left_at
             FROM views.stage_entries n
            WHERE n.firm_id = %(firm)s AND n.deal_id = e.deal_id AND n.number > e.number
            ORDER BY n.number
            LIMIT 1) AS n ON true
     WHERE e.firm_id = %(firm)s AND e.pipeline_id = %(id)s AND e.stage_id IS NOT NULL
       AND e.entered_at >= %(since)s AND e.entered_at < %(until)s AND NOT t.archived AND {matching}
)
SELECT stage_id AS stage,
       count(*) FILTER (WHERE NOT at_rest) AS stays,
       count(*) FILTER (WHERE left_at IS NULL AND NOT at_rest) AS open,
       count(*) FILTER (WHERE at_rest) AS at_rest,
       round(avg(seconds) FILTER (WHERE NOT at_rest))::bigint AS mean_seconds,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE NOT at_rest))::numeric)::bigint AS median_seconds,
       round((percentile_cont(0.9) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE NOT at_rest))::numeric)::bigint AS p90_seconds,
       max(seconds) FILTER (WHERE NOT at_rest)::bigint AS longest_seconds
  FROM stays
 GROUP BY stage_id
