"""Erasing a person from every store that exists, so that the record still proves what happened and nobody can say to whom.

ER1  Keys first: their destruction is listed outside the database, then they are destroyed; then stores are purged, the sealed values of the
     record last.
ER2  Each store answers for itself, and the erasure is complete when all of them have; a store that is away is asked again.
ER3  Any step may be carried out twice, or by two at once, with the same end.
ER4  A database restored from before an erasure is erased again before it serves.
ER5  Leaves of the log are never changed: proofs made before still verify.
"""
