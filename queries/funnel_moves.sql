SELECT b.stage_id AS origin, e.stage_id AS target, count(*) AS moves, count(DISTINCT e.deal_id) AS deals
  FROM views.stage_entries e
  JOIN views.deals t ON t.firm_id = %(firm)s AND t.id = e.deal_id
 CROSS JOIN LATERAL (
       SELECT p.stage_id
         FROM views.stage_entries p
        WHERE p.firm_id = %(firm)s AND p.deal_id = e.deal_id AND p.number < e.number AND p.stage_id IS NOT NULL
        ORDER BY p.number DESC
        LIMIT 1) AS b
 WHERE e.firm_id = %(firm)s AND e.pipeline_id = %(id)s AND e.stage_id IS NOT NULL
   AND e.entered_at >= %(since)s AND e.entered_at < %(until)s AND NOT t.archived AND {matching}
 GROUP BY b.stage_id, e.stage_id
 ORDER BY count(*) DESC, b.stage_id, e.stage_id
 LIMIT %(limit)s
