"""Real inputs that are not ours to ship stand in a folder beside the checkout: required in CI, optional on a laptop."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("CHANCERY_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def shared(path: str) -> Path:
    """The real input at `path` (`data/…`, `vectors/…`)."""
    found = ROOT / path
    if not found.exists():
        if os.environ.get("CI"):
            pytest.fail(f"real input {path} is missing; continuous integration requires it")
        pytest.skip(f"real input {path} is not on this machine")
    return found
