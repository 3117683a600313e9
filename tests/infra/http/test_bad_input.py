"""What strangers send: each is refused with the right status and a problem that says what happened, why and what to do."""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from domain.kernel import FirmId
from domain.keys import KeyId, compose, public_id
from domain.members import Role
from tests.house import House
from tests.infra.http.conftest import Served, read_answer

CONTACT = {"given": "Ann", "family": "Ash"}


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["type"]) == (status, f"urn:chancery:problem:{kind}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["title"][0].isupper()
    if status in {429, 503}:
        assert int(answer.headers["retry-after"]) >= 1
    return body


async def post(house: House, body: bytes | str, **headers: str) -> httpx.Response:
    headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return await house.client.post("/v1/contacts", content=body, headers=headers)


@pytest.mark.parametrize(
    ("body", "status", "kind", "says"),
    [
        (b'{"given": "A",', 400, "not-json", "line 1, column"),
        (b"\xff\xfe", 400, "not-json", "UTF-8"),
        (b"   ", 400, "not-json", "empty"),
        (b'{"given": NaN}', 400, "not-json", "column"),
        (b'{"given": "A", "score": 1e400}', 422, "number-unusable", "too large"),
        (b'{"given": "A", "score": 123456789012345678901234567890}', 422, "number-unusable", "send it as text"),
        (b'{"given": "\\ud800"}', 422, "text-unusable", "surrogate"),
        (b'{"given": "A\\u0000B"}', 422, "text-unusable", "NUL"),
        (b'{"given": "A", "given": "B"}', 422, "name-twice", "stands in the same object before"),
        (b"[" * 100 + b"]" * 100, 422, "body-too-deep", "32 levels"),
        (b'["a"]', 422, "not-an-object", "JSON object"),
        (b"null", 422, "not-an-object", "JSON object"),
        (b'{"given": "A", "gievn": "B"}', 422, "invalid-request", "gievn"),
        (b'{"given": 7}', 422, "invalid-request", "given"),
        (b'{"given": "' + b"x" * 5_000 + b'"}', 422, "invalid-request", "given"),
        (b'{"' + b"y" * 5_000 + b'": 1}', 422, "invalid-request", "yyy"),
        (b'{"given": "' + b"x" * 1_100_000 + b'"}', 413, "body-too-large", "1000000"),
    ],
)
async def test_a_body_that_cant_be_used_is_refused_with_the_place(
    house: House, body: bytes, status: int, kind: str, says: str
) -> None:
    told = problem(await post(house, body), status, kind)
    assert says in json.dumps(told)
    assert len(json.dumps(told)) < 2_000


async def test_each_field_that_does_not_fit_is_named_with_a_reason_people_understand(house: House) -> None:
    body = problem(await house.client.post("/v1/notes", json={"given": "Ann"}), 422, "invalid-request")
    reasons = {e["field"]: e["reason"] for e in body["errors"]}
    assert reasons["given"].startswith("There is no such field here. Known are ")
    assert "This field is required" in reasons.values()


async def test_a_compressed_body_or_another_media_type_is_refused(house: House) -> None:
    plain = json.dumps(CONTACT).encode()
    problem(await post(house, gzip.compress(plain), Content_Encoding="gzip"), 415, "body-encoded")
    problem(await post(house, plain, Content_Type="text/xml"), 415, "not-json")
    problem(await post(house, plain, Content_Type="application/json; charset=utf-16"), 415, "not-json")
    assert (await post(house, plain, Content_Type="Application/JSON; charset=UTF-8")).status_code == 201


async def test_a_large_body_is_refused_whether_its_length_is_told_or_not(served: Served) -> None:
    head = b"POST /v1/contacts HTTP/1.1\nContent-Type: application/json"
    told, _, body = await served.raw(head + b"\nContent-Length: 68000000", b"{" + b" " * 1_000)
    assert (told, json.loads(body)["type"]) == (413, "urn:chancery:problem:body-too-large")
    chunk = b"%x\r\n%b\r\n" % (500_000, b" " * 500_000)
    told, _, body = await served.raw(head + b"\nTransfer-Encoding: chunked", chunk * 3)
    assert (told, json.loads(body)["type"]) == (413, "urn:chancery:problem:body-too-large")


@pytest.mark.parametrize(
    ("headers", "kind", "status"),
    [
        ({"If-Match": '"\u00b2"'}, "if-match-malformed", 400),
        ({"If-Match": '"1", "2"'}, "if-match-malformed", 400),
        ({"If-Match": "3"}, "if-match-malformed", 400),
        ({"If-Match": '"99"'}, "stale", 412),
        ({"If-Match": 'W/"99"'}, "stale", 412),
        ({"Idempotency-Key": ""}, "idempotency-key-malformed", 400),
        ({"Idempotency-Key": "x" * 256}, "idempotency-key-malformed", 400),
        ({"Idempotency-Key": "caf\u00e9"}, "idempotency-key-malformed", 400),
    ],
)
async def test_a_header_that_cant_be_used_is_refused(house: House, headers: dict[str, str], kind: str, status: int) -> None:
    made = (await house.client.post("/v1/contacts", json=CONTACT)).json()
    raw = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    path = f"/v1/contacts/{made['id']}:archive"
    problem(await house.client.post(path, json={}, headers=raw), status, kind)


async def test_if_match_takes_a_star_a_version_and_its_weak_form_and_nothing_where_no_record_stands(house: House) -> None:
    for tag in ("*", '"1"', 'W/"1"'):
        made = (await house.client.post("/v1/contacts", json=CONTACT)).json()
        done = await house.client.post(f"/v1/contacts/{made['id']}:archive", json={}, headers={"If-Match": tag})
        assert done.status_code == 200, done.text
    for path, body in (("keys", {"name": "K", "role": "adviser"}), ("contacts", CONTACT)):
        answer = await house.client.post(f"/v1/{path}", json=body, headers={"If-Match": '"1"'})
        problem(answer, 400, "if-match-not-here")


async def test_odd_idempotency_keys_work(house: House) -> None:
    for key in ("a b", "'; DROP TABLE x; --", "{}[]%00%", "0" * 255, "urn:uuid:not-one"):
        first = await house.client.post("/v1/contacts", json=CONTACT, headers={"Idempotency-Key": key})
        again = await house.client.post("/v1/contacts", json=CONTACT, headers={"Idempotency-Key": key})
        assert (first.status_code, first.json()) == (201, again.json())


@pytest.mark.parametrize("position", ["\u00b2", "-1", "1.0", "9" * 19, "x", ""])
async def test_a_position_that_is_none_is_refused(house: House, position: str) -> None:
    headers = [(b"Chancery-Position", position.encode("latin-1"))]
    problem(await house.client.get("/v1/contacts", headers=headers), 400, "position-malformed")
    problem(await house.client.get("/v1/firm", headers=headers), 400, "position-malformed")


async def test_a_position_that_the_record_does_not_have_is_refused_at_once(house: House) -> None:
    for path in ("/v1/contacts", "/v1/firm", f"/v1/contacts/{uuid4()}", f"/v1/contacts/{uuid4()}/history", "/v1/roles"):
        told = problem(await house.client.get(path, headers={"Chancery-Position": "9" * 18}), 422, "position-unknown")
        assert told["head"] > 0


@pytest.mark.parametrize(
    ("query", "kind", "status"),
    [
        ("filtr=x", "unknown-parameter", 400),
        ("page_size=5&page_size=6", "repeated-parameter", 400),
        ("page_size=0", "parameter-malformed", 400),
        ("page_size=1001", "parameter-malformed", 400),
        ("page_size=%C2%B2", "parameter-malformed", 400),
        ("include_total=1", "parameter-malformed", 400),
        ("filter=a%00b", "parameter-malformed", 400),
        ("filter=((", "filter-malformed", 422),
        ("filter=" + "(" * 3_000, "filter-too-large", 422),
        ("filter=%FF%FE", None, None),
        ("order_by=nothing", "unknown-field", 422),
        ("fields=nothing", "unknown-field", 422),
        ("page_token=AAAA", "page-token-unusable", 422),
        ("page_token=%F0%9F%98%80", "page-token-unusable", 422),
    ],
)
async def test_a_query_that_cant_be_answered_is_refused(house: House, query: str, kind: str | None, status: int | None) -> None:
    answer = await house.client.get(f"/v1/contacts?{query}")
    if kind is None or status is None:
        assert answer.status_code < 500
    else:
        problem(answer, status, kind)


async def test_parameters_in_a_body_are_checked_as_in_an_address(house: House) -> None:
    problem(await house.client.post("/v1/contacts:search", json={"filtr": "x"}), 422, "unknown-parameter")
    problem(await house.client.post("/v1/contacts:search", json={"filter": 7}), 400, "parameter-malformed")
    problem(await house.client.post("/v1/contacts:search", json={"include_total": 1}), 400, "parameter-malformed")
    problem(await house.client.post("/v1/contacts:search", json={"page_size": True}), 400, "parameter-malformed")
    found = await house.client.post("/v1/contacts:search", json={"page_size": 1, "include_total": True})
    assert found.json()["total"] >= 0
    refused = await house.client.post(f"/v1/contacts/{uuid4()}:archive?x=1", json={})
    problem(refused, 400, "unknown-parameter")


async def test_a_page_token_is_good_for_its_list_its_record_and_its_firm_alone(house: House) -> None:
    ids = [(await house.client.post("/v1/contacts", json=CONTACT)).json()["id"] for _ in range(3)]
    for id in ids[:2]:
        for n in range(2):
            await house.client.post(f"/v1/contacts/{id}:{'archive' if n == 0 else 'restore'}", json={})
    await house.settle()
    token = (await house.client.get("/v1/contacts", params={"page_size": 1})).json()["next_page_token"]
    other = await house.another_firm()
    for client, path in (
        (house.client, "/v1/deals?"),
        (house.client, "/v1/contacts?filter=version%3D3&"),
        (other.client, "/v1/contacts?"),
    ):
        problem(await client.get(f"{path}page_token={token}"), 422, "page-token-unusable")
    told = (await house.client.get(f"/v1/contacts/{ids[0]}/history", params={"page_size": 1})).json()
    rest = await house.client.get(f"/v1/contacts/{ids[0]}/history", params={"page_token": told["next_page_token"]})
    assert [e["version"] for e in told["items"] + rest.json()["items"]] == [1, 2, 3]
    wrong = await house.client.get(f"/v1/contacts/{ids[1]}/history", params={"page_token": told["next_page_token"]})
    problem(wrong, 422, "page-token-unusable")
    problem(await house.client.get(f"/v1/contacts/{ids[0]}/history", params={"page_token": "2"}), 422, "page-token-unusable")


@pytest.mark.parametrize(
    "id",
    ["x", "%00", "%FF", "urn:uuid:0190a1b2-0000-7000-8000-000000000000", "{0190a1b2-0000-7000-8000-000000000000}", "0" * 32, "."],
)
async def test_an_id_that_is_none_names_nothing(served: Served, id: str) -> None:
    for path in (f"GET /v1/contacts/{id}", f"GET /v1/contacts/{id}/history", f"GET /v1/projects/{id}/plan"):
        status, headers, body = await served.raw(path.encode() + b" HTTP/1.1")
        assert (status, headers["content-type"]) == (404, "application/problem+json"), body
    status, _, body = await served.raw(f"POST /v1/contacts/{id}:archive HTTP/1.1\nContent-Length: 2".encode(), b"{}")
    assert status == 404, body


async def test_what_belongs_to_another_firm_is_not_found_in_a_body_as_little_as_in_an_address(house: House) -> None:
    other = await house.another_firm()
    theirs = (await other.client.post("/v1/contacts", json=CONTACT)).json()["id"]
    ours = (await house.client.post("/v1/contacts", json=CONTACT)).json()["id"]
    pipeline = (await house.client.post("/v1/pipelines", json={"name": f"P {uuid4()}", "stages": [{"name": "One"}]})).json()["id"]
    nobody = str(uuid4())
    for foreign in (theirs, nobody):
        problem(await house.client.post(f"/v1/contacts/{foreign}:archive", json={}), 404, "not-found")
        merged = await house.client.post(f"/v1/contacts/{ours}:merge", json={"other": foreign})
        assert merged.status_code in {404, 422}, merged.text
        deal = await house.client.post("/v1/deals", json={"title": "D", "pipeline": pipeline, "contact": foreign})
        assert deal.status_code in {404, 422}, deal.text
    by_theirs = [await house.client.post(f"/v1/contacts/{f}:archive", json={}) for f in (theirs, nobody)]
    assert by_theirs[0].json() | {"id": ""} == by_theirs[1].json() | {"id": ""}


async def test_a_bad_key_is_told_apart_only_as_far_as_its_holder_may_know(house: House) -> None:
    def asked(value: bytes | None) -> Any:
        headers = [(b"Authorization", value)] if value is not None else []
        return house.as_key(None).get("/v1/me", headers=headers)

    for value, kind in (
        (None, "key-missing"),
        (b"Basic abc", "key-missing"),
        (b"Bearer", "key-missing"),
        (b"Bearer \xff\xfe", "not-a-key"),
        (b"Bearer nonsense", "not-a-key"),
        (b"Bearer " + house.key[:-1].encode() + b"0", "key-is-mistyped" if house.key[-1] != "0" else None),
        (b"Bearer " + compose(public_id(house.firm, KeyId(uuid4())), "x" * 32).encode(), "key-not-accepted"),
        (b"Bearer " + compose(public_id(FirmId(uuid4()), KeyId(uuid4())), "x" * 32).encode(), "key-not-accepted"),
        (b"Bearer " + compose(house.key.split("_")[1], "x" * 32).encode(), "key-not-accepted"),
    ):
        if kind is not None:
            answer = await asked(value)
            problem(answer, 401, kind)
            assert "www-authenticate" in answer.headers


async def test_an_expired_key_is_refused_from_the_moment_it_ends(house: House) -> None:
    for seconds in (2, 10, 60):
        ends = datetime.now(UTC) + timedelta(seconds=seconds)
        made = await house.client.post("/v1/keys", json={"name": "Brief", "role": "adviser", "expires_at": ends.isoformat()})
        assert made.status_code == 201, made.text
        await house.settle()
        brief = house.as_key(made.json()["api_key"])
        good = await brief.get("/v1/me")
        if datetime.now(UTC) < ends:
            break  # else the machine was too slow to use it at all
    assert good.status_code == 200
    while datetime.now(UTC) < ends:
        await asyncio.sleep(0.05)
    problem(await brief.get("/v1/me"), 401, "key-has-expired")


async def test_a_key_without_the_permission_is_told_which(house: House) -> None:
    analyst = await house.as_role(Role.ANALYST)
    assert problem(await analyst.post("/v1/contacts", json=CONTACT), 403, "permission-missing")["permission"] == "contacts:write"
    assert problem(await analyst.get("/v1/changes?views=keys"), 403, "permission-missing")["permission"] == "keys:read"


async def test_an_address_without_anything_or_with_another_method_says_so(house: House) -> None:
    problem(await house.client.get("/"), 404, "no-such-route")
    problem(await house.client.get("/v1/nothing"), 404, "no-such-route")
    problem(await house.client.get("/docs/static/nothing.js"), 404, "no-such-route")
    problem(await house.client.get("/docs/static/../../../pyproject.toml"), 404, "no-such-route")
    assert "slash" in problem(await house.client.get("/v1/contacts/"), 404, "no-such-route")["detail"]
    for method, path, allowed in (
        ("DELETE", "/v1/contacts", "GET, HEAD, OPTIONS, POST"),
        ("PUT", f"/v1/contacts/{uuid4()}", "GET, HEAD, OPTIONS"),
        ("GET", f"/v1/contacts/{uuid4()}:archive", "OPTIONS, POST"),
        ("TRACE", "/v1/me", "GET, HEAD, OPTIONS"),
    ):
        answer = await house.client.request(method, path)
        problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == allowed
    options = await house.client.options("/v1/contacts")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


async def test_head_answers_as_get_without_a_body(served: Served) -> None:
    for path in ("/v1/contacts", "/v1/me", "/healthz", "/v1/changes"):
        status, headers, body = await served.raw(f"HEAD {path} HTTP/1.1".encode())
        assert (status, body) == (200, b"")
        assert "content-type" in headers


async def test_a_very_long_address_is_refused(served: Served) -> None:
    status, _, body = await served.raw(b"GET /v1/contacts?filter=" + b"a" * 61_000 + b" HTTP/1.1")
    assert (status, json.loads(body)["type"]) == (414, "urn:chancery:problem:address-too-long")
    status, _, body = await served.raw(b"GET /" + b"a" * 200_000 + b" HTTP/1.1")
    assert (status, json.loads(body)["type"]) == (400, "urn:chancery:problem:not-http")
    status, _, body = await served.raw(b"GET /v1/me HTTP/1.1\nX-Long: " + b"a" * 200_000)
    assert (status, json.loads(body)["type"]) == (400, "urn:chancery:problem:not-http")
    assert "more than 65,536 bytes" in json.loads(body)["detail"]


async def test_odd_bytes_in_addresses_and_headers_never_break_anything(served: Served) -> None:
    for head, expected in (
        (b"GET /v1/contacts?filter=%ZZ HTTP/1.1", {200, 400, 422}),
        (b"GET /v1/contacts?%00=1 HTTP/1.1", {400}),
        (b"GET /v1/%2e%2e/%2e%2e/etc/passwd HTTP/1.1", {404}),
        (b"GET /v1/contacts%00 HTTP/1.1", {404}),
        (b"GET /v1/contacts%0d%0aX-Evil:1 HTTP/1.1", {404}),
        (b"GET /v1/\xff\xfe HTTP/1.1", {400, 404}),
        (b"GET /v1/me HTTP/1.1\nX-Request-Id: a\xffb", {200}),
        (b"GET /v1/me HTTP/1.1\nX-Request-Id: " + b"a" * 500, {200}),
        (b"GET /v1/contacts HTTP/1.1\nIf-None-Match: \xff\xff", {200}),
        (b"GET /v1/contacts HTTP/1.1\nChancery-Position: 1\nChancery-Position: 2", {400}),
        (b"GET /v1/me HTTP/1.1\nAuthorization: Bearer x", {400}),
        (b"NONSENSE", {400}),
        (b"GET /v1/me HTTP/9.9", {400}),
    ):
        status, headers, body = await served.raw(head)
        assert status in expected, (head[:80], status, body)
        if status >= 400:
            assert headers["content-type"] == "application/problem+json", (head, body)
        assert "x-evil" not in headers


async def test_a_parameter_that_is_not_utf_8_is_refused_in_words_and_not_read_as_something_else(served: Served) -> None:
    for query in (b"filter=family%20%3D%20%22M%FCller%22", b"filter=%C3", b"page%E4=1"):
        status, _, body = await served.raw(b"GET /v1/contacts?" + query + b" HTTP/1.1")
        assert (status, json.loads(body)["type"]) == (400, "urn:chancery:problem:parameter-malformed"), (query, body)
        assert "Encode it as UTF-8" in json.loads(body)["detail"]
    assert (await served.raw(b"GET /v1/contacts?filter=M\xfcller HTTP/1.1"))[0] == 400, "nothing undone, and no ASCII"
    for address in (b"/v1/search?q=%FF", b"/v1/me?%FF", b"/v1/activity?by=%FF", b"/v1/search/suggest?q=%FF"):
        assert (await served.raw(b"GET " + address + b" HTTP/1.1"))[0] == 400, address
    assert (await served.raw(b"GET /v1/contacts?filter=family%20%3D%20%22M%C3%BCller%22 HTTP/1.1"))[0] == 200
    assert (await served.raw(b"GET /p/verify?from=M%FCller HTTP/1.1", key=False))[0] == 200, "a page for people"


async def test_a_request_id_is_given_back_and_every_answer_has_one(house: House) -> None:
    given = str(uuid4())
    assert (await house.client.get("/v1/me", headers={"X-Request-Id": given})).headers["x-request-id"] == given
    assert len((await house.client.get("/nothing", headers={"X-Request-Id": "a b"})).headers["x-request-id"]) == 36
    headers = (await house.client.get("/v1/me")).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_a_caller_who_sends_slowly_is_answered_408_and_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.http.commands.BODY_SECONDS", 0.3)
    head = b"POST /v1/contacts HTTP/1.1\nContent-Type: application/json\nContent-Length: 100"
    status, headers, body = await served.raw(head, b"{")
    assert (status, json.loads(body)["type"]) == (408, "urn:chancery:problem:body-too-slow")
    assert headers["connection"] == "close"
    monkeypatch.setattr("infra.http.connection.HEAD_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /v1/me HT")
    status, _, body = await read_answer(reader)
    assert (status, json.loads(body)["type"]) == (408, "urn:chancery:problem:head-too-slow")
    writer.close()
