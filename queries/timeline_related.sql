SELECT id
  FROM (
       SELECT p.deal_id AS id, p.updated_at FROM views.deal_parties p
        WHERE p.firm_id = %(firm)s AND p.party_id = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT t.id, t.updated_at FROM views.tasks t WHERE t.firm_id = %(firm)s AND t.contact = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT t.id, t.updated_at FROM views.tasks t WHERE t.firm_id = %(firm)s AND t.organisation = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT t.id, t.updated_at FROM views.tasks t WHERE t.firm_id = %(firm)s AND t.deal = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT t.id, t.updated_at FROM views.tasks t WHERE t.firm_id = %(firm)s AND t.project = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT j.id, j.updated_at FROM views.projects j WHERE j.firm_id = %(firm)s AND j.contact = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT j.id, j.updated_at FROM views.projects j WHERE j.firm_id = %(firm)s AND j.organisation = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT j.id, j.updated_at FROM views.projects j WHERE j.firm_id = %(firm)s AND j.deal = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT l.document, l.updated_at FROM views.document_links l WHERE l.firm_id = %(firm)s AND l.target = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT n.id, n.updated_at FROM views.notes n WHERE n.firm_id = %(firm)s AND n.about = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT r.id, r.updated_at FROM views.relations r WHERE r.firm_id = %(firm)s AND r.source = ANY (%(ids)s::uuid[])
       UNION ALL
       SELECT r.id, r.updated_at FROM views.relations r WHERE r.firm_id = %(firm)s AND r.target = ANY (%(ids)s::uuid[])
       ) AS related
 GROUP BY id
 ORDER BY max(updated_at) DESC, id
 LIMIT %(most)s
