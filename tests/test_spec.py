"""Every invariant that is promised is tried by a test, and every test that claims one names a promise."""

import ast
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]


def promised() -> list[tuple[str, str]]:
    """(file, id) of each invariant in spec/invariants."""
    found = []
    for path in sorted((ROOT / "spec" / "invariants").glob("*.toml")):
        content = tomllib.loads(path.read_text())
        assert set(content) == {"invariant"}, path.name
        for invariant in content["invariant"]:
            assert set(invariant) == {"id", "sentence"}, (path.name, invariant)
            assert invariant["sentence"].endswith("."), (path.name, invariant["id"])
            found.append((path.name, invariant["id"]))
    return found


def claimed() -> dict[str, str]:
    """The ids that markers of tests carry, each with one place."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "invariant":
                assert node.args, path
                for id in node.args:
                    assert isinstance(id, ast.Constant), f"{path}: an invariant's id is written out"
                    found.setdefault(str(id.value), f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_an_invariant_has_one_id() -> None:
    assert [id for id, times in Counter(id for _, id in promised()).items() if times > 1] == []


def test_every_invariant_is_tried_by_a_test() -> None:
    tried = claimed()
    assert [f"{file}: {id}" for file, id in promised() if id not in tried] == []


def test_every_invariant_that_a_test_claims_is_promised() -> None:
    ids = {id for _, id in promised()}
    assert {id: place for id, place in claimed().items() if id not in ids} == {}
