SELECT s.id AS stage, c.*
  FROM unnest(%(stages)s::uuid[], %(statuses)s::text[]) AS s(id, status)
 CROSS JOIN LATERAL (
       SELECT t.id, t.title, t.amount, t.currency, t.owner_id, t.contact_id, t.contact_ids, t.organisation_ids, t.expected_close,
              t.source, t.status, t.stage_since, t.closed_at, t.last_touched_at, t.stage_id, t.version, {key} AS _key
         FROM views.deals t
        WHERE t.firm_id = %(firm)s AND t.pipeline_id = %(id)s AND t.stage_id = s.id AND NOT t.archived AND t.status = s.status
          AND {matching} AND {after}
        ORDER BY {order}
        LIMIT %(limit)s) AS c
