WITH stages AS MATERIALIZED (
    SELECT * FROM unnest(%(stage_id)s::uuid[], %(stage_kind)s::text[], %(stage_place)s::bigint[], %(stage_probability)s::bigint[],
              %(stage_time_limit_days)s::bigint[]) AS s(id, kind, place, probability, time_limit_days)
), cohort AS MATERIALIZED (
    SELECT e.deal_id, e.stage_id, min(e.number) AS first, t.status
      FROM views.stage_entries e
      JOIN views.deals t ON t.firm_id = %(firm)s AND t.id = e.deal_id
     WHERE e.firm_id = %(firm)s AND e.pipeline_id = %(id)s AND e.stage_id IS NOT NULL
       AND e.entered_at >= %(since)s AND e.entered_at < %(until)s AND NOT t.archived AND {matching}
     GROUP BY e.deal_id, e.stage_id, t.status
), judged AS (
    SELECT c.deal_id, c.stage_id, c.status,
           EXISTS (SELECT FROM views.stage_entries n
                     LEFT JOIN stages f ON f.id = n.stage_id
                    WHERE n.firm_id = %(firm)s AND n.deal_id = c.deal_id AND n.number > c.first
                      AND (n.how = 'won' AND n.stage_id IS NULL
                           OR f.kind <> 'lost' AND f.place > s.place)) AS went_on
      FROM cohort c
      JOIN stages s ON s.id = c.stage_id
)
SELECT stage_id AS stage, count(*) AS entered,
       count(*) FILTER (WHERE went_on) AS went_on,
       count(*) FILTER (WHERE status = 'won') AS won,
       count(*) FILTER (WHERE NOT went_on AND status = 'lost') AS lost,
       count(*) FILTER (WHERE NOT went_on AND status = 'open') AS resting
  FROM judged
 GROUP BY stage_id
