WITH touched AS (
    SELECT x.*
      FROM unnest(%(ids)s::uuid[]) AS s(id)
     CROSS JOIN LATERAL (
           SELECT t.event_id, t.created_at, t.position, t.role, t.subject
             FROM views.timeline t
            WHERE t.firm_id = %(firm)s AND t.subject = s.id AND t.stream_type = ANY (%(streams)s) AND t.name = ANY (%(names)s)
              AND (t.created_at, t.position) < (%(before)s, %(before_position)s) AND t.created_at >= %(since)s
            ORDER BY t.created_at DESC, t.position DESC
            LIMIT %(limit)s) AS x
    UNION ALL
    SELECT x.*
      FROM unnest(%(actors)s::text[]) AS s(actor)
     CROSS JOIN LATERAL (
           SELECT t.event_id, t.created_at, t.position, 'actor', NULL::uuid
             FROM views.timeline t
            WHERE t.firm_id = %(firm)s AND t.actor = s.actor AND t.role = 'self' AND t.stream_type = ANY (%(streams)s)
              AND t.name = ANY (%(names)s) AND (t.created_at, t.position) < (%(before)s, %(before_position)s) AND t.created_at >= %(since)s
            ORDER BY t.created_at DESC, t.position DESC
            LIMIT %(limit)s) AS x
), latest AS (
    SELECT event_id, created_at, position, array_agg(DISTINCT role) AS roles, array_agg(DISTINCT subject) AS subjects
      FROM touched
     GROUP BY event_id, created_at, position
     ORDER BY created_at DESC, position DESC
     LIMIT %(limit)s
)
SELECT l.event_id, l.position, l.created_at AS occurred_at, o.recorded_at, o.name, o.stream_type, o.stream_id, o.actor, o.origin,
       l.roles, l.subjects, o.facts, CASE WHEN %(personal)s THEN o.texts END AS texts
  FROM latest l
  JOIN views.timeline o ON o.firm_id = %(firm)s AND o.id = l.event_id
 ORDER BY l.created_at DESC, l.position DESC
