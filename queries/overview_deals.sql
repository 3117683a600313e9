SELECT t.id, t.title, t.status, t.pipeline_id, t.stage_id, t.stage_name, t.stage_since, t.amount, t.currency, t.expected_close, t.closed_on,
       t.owner_id, p.roles, count(*) OVER () AS deals, count(*) FILTER (WHERE t.status = 'open') OVER () AS open,
       count(*) FILTER (WHERE t.status = 'won') OVER () AS won, count(*) FILTER (WHERE t.status = 'lost') OVER () AS lost
  FROM (SELECT deal_id, array_agg(DISTINCT role ORDER BY role) AS roles
          FROM views.deal_parties
         WHERE firm_id = %(firm)s AND party_id = ANY (%(ids)s::uuid[])
         GROUP BY deal_id) AS p
  JOIN views.deals t ON t.firm_id = %(firm)s AND t.id = p.deal_id
 WHERE NOT t.archived
 ORDER BY (t.status = 'open') DESC, t.last_touched_at DESC, t.id
 LIMIT %(limit)s
