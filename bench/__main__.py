"""`python -m bench [GROUP…]`: measure, print a table, write bench/results.json."""

import importlib
import logging
import sys
from pathlib import Path

import structlog

from bench import harness
from bench.place import place

GROUPS = (
    "append",
    "bulk",
    "load",
    "sealed",
    "replay",
    "http",
    "graph",
    "views",
    "shown",
    "proofs",
    "search",
    "elastic",
    "kafka",
    "consent",
    "erasure",
    "neo4j",
    "backfill",
)


def main(wanted: list[str]) -> int:
    unknown = [w for w in wanted if w not in GROUPS]
    if unknown:
        print(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    figures: list[harness.Figure] = []
    for group in wanted or GROUPS:
        print(f"measuring {group} …", flush=True)
        with place() as p:
            figures += importlib.import_module(f"bench.{group}").measure(p)
    harness.show(figures)
    harness.write(figures, Path(__file__).parent / "results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
