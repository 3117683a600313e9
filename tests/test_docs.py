"""Documentation is complete, or a test fails: every command, setting, verb, event, view and address; links lead somewhere."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

from commands.kernel import COMMANDS
from domain.kernel import EVENTS
from infra import reference
from infra.cli.main import app
from infra.http import app as http
from infra.settings import Settings
from projections.kernel import VIEWS
from queries.kernel import COLLECTIONS, QUERIES
from tests.house import House

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PAGES = sorted(p for p in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "spec").rglob("*.md")])


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return reference.pages()


def test_the_reference_regenerates_without_a_difference(written: dict[str, str]) -> None:
    stored = {p.name: p.read_text(encoding="utf-8") for p in reference.FOLDER.glob("*.md")}
    differing = sorted(n for n in stored.keys() | written.keys() if stored.get(n) != written.get(n))
    assert differing == [], "run `python -m infra.reference` and commit docs/reference"


def test_every_command_event_view_and_query_is_documented(written: dict[str, str]) -> None:
    assert [n for n in COMMANDS if f"### `{n}`" not in written["commands.md"]] == []
    assert [n for n in EVENTS if f"### `{n}`" not in written["events.md"]] == []
    assert [n for n in VIEWS if f"## {n}\n" not in written["views.md"]] == []
    assert [c.name for c in COLLECTIONS.values() if f"`GET /v1/{c.name}`" not in written["views.md"]] == []
    assert [n for n in QUERIES if f"`{n}`" not in written["views.md"]] == []


async def test_every_address_that_is_served_is_documented(house: House, written: dict[str, str]) -> None:
    served = {f"{r.method} {r.path}" for r in http.routes(house._app.state.service, http.Metrics())}
    documented = set(re.findall(r"^\| `([A-Z]+ [^`]+)` \|", written["routes.md"], re.MULTILINE))
    assert served == documented


def test_every_setting_is_documented_with_its_meaning(written: dict[str, str]) -> None:
    assert [n for n, f in Settings.model_fields.items() if not f.description] == []
    assert [n for n in Settings.model_fields if f"`CHANCERY_{n.upper()}`" not in written["settings.md"]] == []


def test_the_readme_has_the_table_of_settings_as_they_are() -> None:
    assert reference.settings_table() in (ROOT / "README.md").read_text(encoding="utf-8")


def verbs(command: Any, path: tuple[str, ...] = ("chancery",)) -> list[tuple[tuple[str, ...], Any]]:
    under = [v for name, sub in getattr(command, "commands", {}).items() for v in verbs(sub, (*path, name))]
    return [] if getattr(command, "hidden", False) else [(path, command), *under]


def test_every_verb_says_what_it_does_and_every_option_what_it_means() -> None:
    silent = []
    for path, command in verbs(typer.main.get_command(app)):
        name = " ".join(path)
        if not (command.help or "").strip().endswith("."):
            silent.append(name)
        silent += [f"{name} {p.name}" for p in command.params if not (getattr(p, "help", None) or "").strip()]
    assert silent == []


def test_every_verb_is_documented(written: dict[str, str]) -> None:
    missing = [" ".join(path) for path, _ in verbs(typer.main.get_command(app)) if f"`{' '.join(path)}`\n" not in written["cli.md"]]
    assert missing == []


def test_what_documents_call_chancery_exists() -> None:
    known = {" ".join(path[1:]) for path, _ in verbs(typer.main.get_command(app))}
    unknown = []
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        for said in re.findall(
            r"(?:`|bin/)chancery ((?:[a-z][a-z-]*(?: |(?=`|$)))+)", page.read_text(encoding="utf-8"), re.MULTILINE
        ):
            words = said.split()
            if not any(" ".join(words[:n]) in known for n in range(1, len(words) + 1)):
                unknown.append(f"{page.relative_to(ROOT)}: chancery {said.strip()}")
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, _anchor = target.partition("#")
        if path and not (page.parent / unquote(path)).exists():
            broken.append(target)
    assert broken == []


def test_no_page_names_a_path_of_one_machine() -> None:
    found = [
        f"{p.relative_to(ROOT)}: {m}"
        for p in PAGES
        for m in re.findall(r"(?:/work|/home|/Users)/\S+", p.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_decisions_fit_on_a_page_and_are_numbered_without_a_gap() -> None:
    decisions = sorted((ROOT / "spec" / "decisions").glob("*.md"))
    assert [int(p.name[:4]) for p in decisions] == list(range(1, len(decisions) + 1))
    long = [p.name for p in decisions if len(p.read_text(encoding="utf-8").splitlines()) > 60]
    assert long == []


def test_the_changelog_has_a_place_for_what_is_not_released_yet() -> None:
    assert "\n## Unreleased\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_threat_model_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")))
    there = {m for p in (ROOT / "tests").rglob("test_*.py") for m in re.findall(r"def (test_\w+)", p.read_text(encoding="utf-8"))}
    assert len(named) > 20
    assert sorted(named - there) == []
