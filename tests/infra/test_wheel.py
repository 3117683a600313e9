"""What an installed wheel has: every file that the program reads at run time, not only its modules."""

import fnmatch
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_file_of_the_packages_is_package_data() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    packages = [p.removesuffix("*") for p in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    files = subprocess.run(
        ["git", "ls-files", "--", *packages], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert files
    lost = [f for f in files if not f.endswith(".py") and not any(fnmatch.fnmatch(Path(f).name, p) for p in patterns)]
    assert lost == [], "name their kind in [tool.setuptools.package-data] of pyproject.toml"
