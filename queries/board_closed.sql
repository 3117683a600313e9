SELECT t.status, count(*) AS deals
  FROM views.deals t
  JOIN unnest(%(stage_id)s::uuid[], %(stage_kind)s::text[], %(stage_place)s::bigint[], %(stage_probability)s::bigint[],
              %(stage_time_limit_days)s::bigint[]) AS s(id, kind, place, probability, time_limit_days)
    ON s.id = t.stage_id
 WHERE t.firm_id = %(firm)s AND t.pipeline_id = %(id)s AND NOT t.archived AND t.status <> s.kind AND {matching}
 GROUP BY t.status
