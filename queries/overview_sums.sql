SELECT t.status, t.currency, count(*) AS deals, sum(t.amount) AS amount
  FROM views.deals t
 WHERE t.firm_id = %(firm)s AND NOT t.archived
   AND t.id IN (SELECT deal_id FROM views.deal_parties WHERE firm_id = %(firm)s AND party_id = ANY (%(ids)s::uuid[]))
 GROUP BY 1, 2
 ORDER BY 1, 2 NULLS LAST
