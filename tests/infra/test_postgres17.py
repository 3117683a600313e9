"""The oldest PostgreSQL that Chancery works on carries the record and the views as the newest does."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg

from tests.servers import postgres_17

ROOT = Path(__file__).parents[2]
CORE = (
    "tests/infra/test_appender.py",
    "tests/infra/test_recorder.py",
    "tests/infra/test_bulk.py",
    "tests/infra/http/test_figures.py",
)


def test_the_core_of_the_record_and_the_views_passes_on_postgresql_17() -> None:
    with tempfile.TemporaryDirectory(prefix="chancery-pg17-", dir="/var/tmp") as made:
        folder = Path(made)
        folder.chmod(0o755)  # the server runs as another user when we are root
        with postgres_17(folder / "server") as url:
            with psycopg.connect(url) as c:
                assert c.info.server_version // 10_000 == 17
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    "-p",
                    "no:cacheprovider",
                    "-p",
                    "no:xdist",
                    f"--basetemp={folder / 'pytest'}",
                    "-x",
                    *CORE,
                ],
                env={**os.environ, "CHANCERY_TEST_DATABASE_URL": url},
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout[-6000:]
            assert " passed" in done.stdout
