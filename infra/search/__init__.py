"""The search index: an indexer that follows the record, and the stores it fills."""
