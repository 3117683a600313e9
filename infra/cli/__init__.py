"""The command line. Exit 0: done. 1: refused, or a check failed. 2: wrong usage. 130: interrupted before anything was begun."""

import sys


def main() -> None:
    """The entry point of `chancery`."""
    try:
        from infra.cli.main import main as start
    except KeyboardInterrupt:  # while the program itself was read
        sys.stderr.write("Interrupted. Nothing was begun.\n")
        raise SystemExit(130) from None
    start()
