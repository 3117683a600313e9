SELECT count(DISTINCT e.deal_id) AS deals
  FROM views.stage_entries e
  JOIN views.deals t ON t.firm_id = %(firm)s AND t.id = e.deal_id
 WHERE e.firm_id = %(firm)s AND e.pipeline_id = %(id)s AND e.stage_id IS NOT NULL
   AND e.entered_at >= %(since)s AND e.entered_at < %(until)s AND NOT t.archived AND {matching}
