SELECT date_trunc(%(bucket)s, t.{clock}, %(zone)s) AS start, {group} AS key, count(*) AS events
  FROM views.timeline t
 WHERE t.firm_id = %(firm)s AND t.role = 'self' AND t.{clock} >= %(since)s AND t.{clock} < %(until)s
   AND t.stream_type = ANY (%(streams)s) AND t.name = ANY (%(names)s)
   AND (%(actor)s::text IS NULL OR t.actor = %(actor)s) AND (%(origin)s::text IS NULL OR t.origin = %(origin)s)
   AND {records}
 GROUP BY 1, 2
 ORDER BY 1, 3 DESC, 2
