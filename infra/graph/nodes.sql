SELECT n.id, n.kind, n.label, n.status, n.archived, n.amount, n.currency, n.closed_on
  FROM views.graph_nodes n
 WHERE n.firm_id = %(firm)s AND n.id = ANY (%(ids)s::uuid[]) AND n.kind = ANY (%(node_kinds)s::text[])
 ORDER BY n.id
