SELECT date_trunc('month', e.entered_at, %(zone)s) AS month, count(*) AS deals
  FROM views.stage_entries e
  JOIN views.deals t ON t.firm_id = %(firm)s AND t.id = e.deal_id
 WHERE e.firm_id = %(firm)s AND e.pipeline_id = %(id)s AND e.stage_id IS NOT NULL AND e.how = 'opened'
   AND e.entered_at >= %(first_at)s AND e.entered_at < %(end_at)s AND NOT t.archived AND {matching}
 GROUP BY 1
