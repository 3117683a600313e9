-- All that checking one key takes: the key's row and whether its firm is suspended.
SELECT k.sha256,
       k.previous_sha256,
       k.previous_until,
       k.roles,
       k.scopes,
       k.member,
       k.expires_at,
       k.status = 'revoked' AS revoked,
       coalesce(f.status = 'suspended', false) AS firm_suspended
  FROM views.keys AS k
  LEFT JOIN views.firms AS f ON f.firm_id = k.firm_id AND f.id = k.firm_id
 WHERE k.firm_id = %(firm)s
   AND k.id = %(id)s
