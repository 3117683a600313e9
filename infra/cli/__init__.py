"""The command line. Exit 0: done. 1: refused, or a check failed. 2: wrong usage."""


def main() -> None:
    """The entry point of `chancery`."""
    from infra.cli.main import main as start

    start()
