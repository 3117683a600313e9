"""Why an engine can't be had."""


class EnginesUnusable(Exception):
    """An engine can't be fetched, started or stopped; the message says why and what to do."""
