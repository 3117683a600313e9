"""The activity graph in Neo4j.

GN1  What Neo4j holds depends on the record alone: kept live, killed, doubled or rebuilt, it is the same, and the same as the views say.
GN2  A batch and the position it leads to are one transaction, which refuses when the graph is not where the batch begins.
GN3  A rebuild fills another build beside the one that serves, and takes its place in one transaction.
GN4  Names that belong to a person are stored sealed: neither Cypher nor a copy of the database shows them.
GN7  What was sealed for a person is in no row, the past included, once their key is destroyed and the graph is purged of it.
GN8  Whatever is written is sought by an index: no plan looks through one, however little Neo4j knows of the graph yet.
"""
