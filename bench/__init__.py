"""Measurements, each a ratio against a bare baseline in the same run."""
