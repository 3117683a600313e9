"""`python -m infra.cli` is `chancery`."""

from infra.cli import main

main()
