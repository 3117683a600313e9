SELECT e.number, e.how, e.pipeline_id, e.stage_id, e.stage_name, e.stage_kind, e.entered_at,
       lead(e.entered_at) OVER (ORDER BY e.number) AS left_at, e.entered_by, e.performer_id
  FROM views.stage_entries e
 WHERE e.firm_id = %(firm)s AND e.deal_id = %(id)s
 ORDER BY e.number
 LIMIT %(limit)s
