SELECT {columns},
       CASE WHEN c.status IN ('given', 'renewed') AND c.expires_at <= (SELECT chancery.present())
            THEN CASE WHEN c.request_expires_at > (SELECT chancery.present()) THEN 'requested' ELSE 'expired' END
            WHEN c.status IN ('requested', 'deferred') AND NOT coalesce(c.request_expires_at > (SELECT chancery.present()), false) THEN 'expired'
            WHEN c.status IN ('given', 'renewed') AND c.notice_version < ((
                SELECT jsonb_object_agg(m.meaning, m.number) FROM (
                    SELECT n.id::text || p.purpose AS meaning, max((v ->> 'number')::bigint) AS number
                      FROM views.notices n, jsonb_array_elements(n.versions) v, jsonb_array_elements_text(v -> 'new_purposes') p (purpose)
                     WHERE n.firm_id = %(firm)s AND (v ->> 'material')::boolean AND (v ->> 'published_at')::timestamptz <= (SELECT chancery.present())
                     GROUP BY 1) m
            ) -> (c.notice::text || c.purpose))::bigint THEN 'superseded'
            ELSE c.status END AS status,
       c.status AS _stored
  FROM {table} c
