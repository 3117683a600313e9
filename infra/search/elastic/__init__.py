"""The search index in Elasticsearch: how it is asked, what a document is, how it is filled, how it answers."""
