"""Engines of the activity graph: PostgreSQL."""
