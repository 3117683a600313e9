WITH stands AS (
    SELECT t.legal_basis, t.consent_type, t.purpose, t.notice, t.expires_at
      FROM {consents} t
     WHERE t.firm_id = %(firm)s AND t.status IN ('given', 'renewed')
)
SELECT 'consents' AS what, s.purpose, s.legal_basis, s.consent_type, count(*) AS standing, count(*) FILTER (WHERE s.notice IS NULL) AS without_notice,
       count(*) FILTER (WHERE s.expires_at <= %(until)s) AS ending, NULL AS kind, NULL AS ground, NULL::bigint AS open, NULL::bigint AS due,
       NULL::bigint AS overdue, NULL::bigint AS refused, NULL::bigint AS completed
  FROM stands s
 GROUP BY s.purpose, s.legal_basis, s.consent_type
UNION ALL
SELECT 'requests', NULL, NULL, NULL, NULL, NULL, NULL, p.kind, p.ground, count(*) FILTER (WHERE p.status = 'open'),
       count(*) FILTER (WHERE p.status = 'open' AND p.due_by BETWEEN %(now)s AND %(until)s),
       count(*) FILTER (WHERE p.status = 'open' AND p.due_by < %(now)s), count(*) FILTER (WHERE p.status = 'refused'),
       count(*) FILTER (WHERE p.status = 'completed')
  FROM views.privacy_requests p
 WHERE p.firm_id = %(firm)s
 GROUP BY p.kind, p.ground
 ORDER BY 1, 2, 8, 9
