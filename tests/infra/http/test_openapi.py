"""The OpenAPI document says what there is, and the running system does what it says."""

import asyncio
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from commands.kernel import COMMANDS
from domain.members import ALL_PERMISSIONS
from infra.http import openapi
from infra.http.described import EXTRA
from infra.http.problems import STATUSES, kebab
from tests.house import House
from tests.infra.http.conftest import Served

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
PAGES = {"/docs", "/docs/start.js", "/p/choices/{link}", "/p/verify"}  # for people
UNKNOWN = "0199c0de-0000-7000-8000-000000000000"
SELF_DESTRUCTIVE = ("keys.revoke", "keys.rotate", "members.deactivate")  # stateful trials would take their own key away


@pytest.fixture
async def document(house: House) -> dict[str, Any]:
    answer = await house.client.get("/openapi.json")
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(m.upper(), path): o for path, item in document["paths"].items() for m, o in item.items() if m in METHODS}


def meant(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The part itself, or what it refers to."""
    if "$ref" not in part:
        return part
    found: Any = document
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


async def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


async def test_every_route_is_described_and_everything_described_is_a_route(house: House, document: dict[str, Any]) -> None:
    there = {(r.method, r.path) for r in house._app.state.routes if r.path not in PAGES}
    assert there == set(operations(document))


async def test_every_operation_has_a_name_of_its_own_a_summary_and_its_problems(document: dict[str, Any]) -> None:
    names = Counter(o["operationId"] for o in operations(document).values())
    assert [n for n, count in names.items() if count > 1] == []
    for (_, path), o in operations(document).items():
        assert o["summary"]
        if path.startswith("/v1"):
            assert {"429", "503"} | ({"401", "403"} if o.get("security") != [] else set()) <= set(o["responses"])
        for status, response in o["responses"].items():
            if status not in {"304"} and int(status) >= 400 and path.startswith("/v1"):
                assert list(meant(document, response)["content"]) == ["application/problem+json"]


async def test_every_tag_is_described_once_and_used(document: dict[str, Any]) -> None:
    described = [tag["name"] for tag in document["tags"]]
    assert len(set(described)) == len(described)
    assert set(described) == {tag for o in operations(document).values() for tag in o["tags"]}
    assert all(len(o["tags"]) == 1 for o in operations(document).values())
    assert all(re.fullmatch(r"[A-Z][^.]{2,}", tag["description"]) for tag in document["tags"])
    assert len({tag["description"] for tag in document["tags"]}) == len(described)


async def test_what_many_operations_share_stands_in_the_document_once(house: House, document: dict[str, Any]) -> None:
    shared = document["components"]
    assert {"400", "401", "403", "429", "503"} <= set(shared["responses"])
    assert {"filter", "as-of", "known-at", "Idempotency-Key"} <= set(shared["parameters"])
    listed = document["paths"]["/v1/deals"]["get"]
    assert [meant(document, p)["name"] for p in listed["parameters"]][:3] == ["filter", "order_by", "fields"]
    assert meant(document, listed["responses"]["429"])["headers"]["Retry-After"]["$ref"] == "#/components/headers/Retry-After"
    assert openapi.document("0", EXTRA) == openapi.document("0", EXTRA)
    whole = await house.client.get("/openapi.json")
    assert len(whole.content) < 1_100_000  # a browser takes it apart in a second


async def test_models_of_one_name_in_two_modules_keep_their_own_fields(document: dict[str, Any]) -> None:
    doubled = [n for n, count in Counter(s.model.__name__ for s in COMMANDS.values()).items() if count > 1]
    assert "AddMember" in doubled
    for spec in COMMANDS.values():
        if spec.model.__name__ in doubled:
            body = document["paths"][f"/v1{spec.path}"][spec.method.lower()]["requestBody"]["content"]["application/json"]["schema"]
            in_path = set(re.findall(r"{(\w+)}", spec.path))
            assert set(body["properties"]) == set(spec.model.model_fields) - in_path


async def test_every_reference_leads_somewhere_and_every_component_is_used(document: dict[str, Any]) -> None:
    def refs(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*(refs(v) for v in part.values()))
        return set().union(*(refs(v) for v in part)) if isinstance(part, list) else set()

    kinds = ("schemas", "parameters", "responses", "headers")
    assert refs(document) == {f"#/components/{kind}/{name}" for kind in kinds for name in document["components"][kind]}


async def test_every_command_tells_a_form_its_title_its_permission_its_target_and_whether_it_can_be_undone(
    document: dict[str, Any],
) -> None:
    told = {o["operationId"]: o.get("x-chancery") for (method, _), o in operations(document).items() if method == "POST"}
    assert told["contacts.archive"] == {
        "title": "Archive a contact",
        "permission": "contacts:write",
        "target": "contact",
        "undoable": True,
    }
    assert told["documents.discard"] == {
        "title": "Discard a document",
        "permission": "documents:write",
        "target": "document",
        "undoable": False,
    }
    offered = [spec for spec in COMMANDS.values() if spec.name in told]
    assert len(offered) > 175
    for spec in offered:
        said = told[spec.name]
        assert said is not None, spec.name
        assert (said["title"], said["permission"]) == (spec.title, spec.permission)
        assert (said["target"], said["undoable"]) == (spec.target.type if spec.target else None, spec.undoable)


async def test_an_operation_of_no_registry_needs_just_the_permissions_it_says(house: House, document: dict[str, Any]) -> None:
    said = {
        o["operationId"]: o["x-chancery"]["permissions"]
        for o in operations(document).values()
        if "permissions" in o.get("x-chancery", {})
    }
    kept = {"me", "changes"}  # what these show depends on what one may see
    assert [
        o["operationId"]
        for o in operations(document).values()
        if o.get("security") != [] and "x-chancery" not in o and o["operationId"] not in kept
    ] == []
    without: dict[str, Any] = {}
    for permission in sorted({p for needed in said.values() for p in needed}):
        key = {"name": f"Without {permission}", "role": "owner", "scopes": sorted(ALL_PERMISSIONS - {permission})}
        made = await house.client.post("/v1/keys", json=key)
        assert made.status_code == 201, made.text
        without[permission] = house.as_key(made.json()["api_key"])
    await house.settle()
    place = {"id": UNKNOWN, "contact": UNKNOWN, "number": "1", "level": "0", "index": "0", "size": "1"}
    for (method, path), o in operations(document).items():
        for permission in said.get(o["operationId"], ()):
            refused = await without[permission].request(method, re.sub(r"{(\w+)}", lambda m: place.get(m[1], "000"), path))
            assert (refused.status_code, refused.json().get("permission")) == (403, permission), (path, refused.text)


def test_problems_have_distinct_names() -> None:
    names = [kebab(kind.__name__) for kind, _, _ in STATUSES]
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", n) for n in names)


def _failures(out: str) -> str:
    """What schemathesis says of its failures and errors, without its warnings."""
    found = re.search(r"= (ERRORS|FAILURES) =.*?(?== WARNINGS =|\Z)", out, re.DOTALL)
    return (found.group() if found else out)[:20_000]


async def test_schemathesis_finds_no_server_error_and_nothing_that_is_not_described(served: Served, tmp_path: Path) -> None:
    async def run(*paths: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json",
            "--header", f"Authorization: Bearer {served.house.key}",
            "--seed", "20260101", "--max-examples", "3", "--max-time", "75", "--no-shrink", "--continue-on-failure",
            "--workers", "1",  # Python 3.11 parses source in one thread at a time, and Hypothesis does in each
            "--phases", "examples,coverage,fuzzing,stateful", "--request-timeout", "20",
            "--exclude-checks", "positive_data_acceptance",  # rules of the domain refuse what a schema can't
            "--exclude-path", "/v1/changes",  # does not end
            *(part for name in SELF_DESTRUCTIVE for part in ("--exclude-operation-id", name)),
            *paths,
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    refused = [
        "400",
        "401",
        "403",
        "404",
        "405",
        "406",
        "409",
        "413",
        "415",
        "422",
        "428",
        "429",
        "5xx",
    ]  # 413: too large to be looked at
    (tmp_path / "schemathesis.toml").write_text(f"[checks.negative_data_rejection]\nexpected-statuses = {json.dumps(refused)}\n")
    half = "^/v1/[a-d]"
    for code, out in await asyncio.gather(run("--include-path-regex", half), run("--exclude-path-regex", half)):
        assert code == 0, _failures(out)


def test_every_problem_of_the_interface_is_explained_to_its_users() -> None:
    root = Path(__file__).parents[3]
    sources = "".join(p.read_text() for p in (root / "infra/http").glob("*.py"))
    raised = {
        found
        for pattern in (
            r'HttpProblem\(\s*\d{3},\s*"([a-z-]+)"',
            r'problems\.answer\(\s*\d{3},\s*"([a-z-]+)"',
            r'[^.]answer\(\s*\d{3},\s*"([a-z-]+)"',
            r'_refuse\(\d{3}, "([a-z-]+)"',
        )
        for found in re.findall(pattern, sources)
    }
    raised |= {kebab(kind.__name__) for kind, _, _ in STATUSES} - {"refused", "invalid"}
    assert len(raised) > 40
    told = set(re.findall(r"`([a-z-]+)`", (root / "docs/api.md").read_text()))
    assert raised - told == set()
