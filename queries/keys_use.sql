SELECT k.id,
       u.last_used_at
  FROM views.keys AS k
  LEFT JOIN chancery.key_uses AS u ON u.firm_id = k.firm_id AND u.key_id = k.id
 WHERE k.firm_id = %(firm)s
   AND k.id = %(id)s
