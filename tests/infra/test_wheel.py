"""What is installed: every file that the program reads at run time, and its libraries as they are locked."""

import fnmatch
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "requirements").glob("*.txt")))
def test_every_library_is_locked_by_version_and_hash_and_no_registry_is_named(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    locked = [part for part in re.split(r"\n(?=[A-Za-z0-9])", text) if part and part[0].isalnum()]
    assert locked
    assert [
        part.split()[0] for part in locked if not re.match(r"[A-Za-z0-9._\[\]-]+==[^\s;]+", part) or "--hash=sha256:" not in part
    ] == []
    assert not re.search(r"://|--index-url|--extra-index-url|--find-links", text)
    python = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert python.startswith(">=3.11")
