SELECT t.lost_code AS reason, count(*) AS deals
  FROM views.deals t
 WHERE t.firm_id = %(firm)s AND t.pipeline_id = %(id)s AND t.closed_on >= %(first)s AND t.closed_on < %(end)s
   AND t.status = 'lost' AND NOT t.archived AND {matching}
 GROUP BY 1
 ORDER BY 2 DESC, 1 NULLS LAST
 LIMIT 50
