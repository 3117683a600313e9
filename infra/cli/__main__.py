"""`python -m infra.cli` is `chancery`."""

from infra.cli.main import main

main()
