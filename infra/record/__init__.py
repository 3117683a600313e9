"""The record: how events are encoded, sealed, appended and read."""
