SELECT {columns},
       CASE WHEN c.status IN ('given', 'renewed') AND c.expires_at <= (SELECT chancery.present())
            THEN CASE WHEN c.request_expires_at > (SELECT chancery.present()) THEN 'requested' ELSE 'expired' END
            WHEN c.status IN ('requested', 'deferred') AND NOT coalesce(c.request_expires_at > (SELECT chancery.present()), false) THEN 'expired'
            WHEN c.status IN ('given', 'renewed') AND newest.material > c.notice_version THEN 'superseded'
            ELSE c.status END AS status
  FROM {table} c
  LEFT JOIN LATERAL (
    SELECT max((v ->> 'number')::bigint) AS material
      FROM views.notices n, jsonb_array_elements(n.versions) v
     WHERE n.firm_id = %(firm)s AND n.id = c.notice AND c.status IN ('given', 'renewed') AND (v ->> 'material')::boolean
       AND (v ->> 'published_at')::timestamptz <= (SELECT chancery.present()) AND v -> 'new_purposes' ? c.purpose
  ) newest ON true
