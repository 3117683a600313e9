"""The page on which a person has a record checked: the file as it was given, an answer in plain words, nothing kept."""

import hashlib
import io
import json
import re
from typing import Any

import httpx
import pytest
from pypdf import PdfReader

from infra.choices.words import WORDS
from infra.http.forms import parts
from infra.http.problems import HttpProblem
from tests.house import House, post
from tests.verifier.test_bundle import Given, given, in_log, verified
from verifier import chancery_verify

__all__ = ["given"]
EN = WORDS["en"]


async def sent(house: House, name: str, content: bytes, document: bytes | None = None, lang: str = "en") -> httpx.Response:
    files: dict[str, Any] = {"file": (name, content)}
    if document is not None:
        files["document"] = ("document.bin", document)
    async with house.as_key(None) as stranger:
        return await stranger.post(f"/p/verify?lang={lang}", files=files)


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).replace("&#39;", "'")


async def test_the_page_is_there_for_anybody_in_their_language_and_neither_kept_nor_framed(house: House) -> None:
    async with house.as_key(None) as stranger:
        for lang in WORDS:
            got = await stranger.get("/p/verify", headers={"Accept-Language": lang})
            assert (got.status_code, got.headers["content-language"]) == (200, lang)
            assert WORDS[lang]["verify_do"] in got.text
    assert got.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in got.headers["content-security-policy"]
    assert "<script" not in got.text
    assert 'enctype="multipart/form-data"' in got.text


async def test_the_code_on_paper_leads_to_the_page_and_the_pdf_itself_is_checked_there(house: House, given: Given) -> None:
    pdf = await house.client.get(f"/v1/contacts/{given.contact}/consent:paper", params={"disclose": "contact_point"})
    assert pdf.status_code == 200, pdf.text
    got = await sent(house, "consent.pdf", pdf.content)
    said = words(got.text)
    assert got.status_code == 200
    for sentence in ("verify_yes", "verify_consent", "did_Given", "did_Withdrawn", "verify_complete"):
        assert EN[sentence] in said, sentence
    assert "contact point: ann@example.org" in said
    notice = verified(given.bundle, given.vkey).entries[0].event["data"]["notice"]
    assert EN["verify_notice"].format(**notice) in said
    german = words((await sent(house, "consent.pdf", pdf.content, lang="de")).text)
    assert "Kontaktadresse: ann@example.org" in german
    assert WORDS["de"]["verify_notice"].format(**notice) in german
    assert "A firm" in said


async def test_the_proof_by_itself_is_checked_and_a_forged_one_is_not_to_be_relied_on(house: House, given: Given) -> None:
    good = await sent(house, "proof.json", json.dumps(given.bundle).encode(), lang="de")
    assert WORDS["de"]["verify_yes"] in good.text
    assert WORDS["de"]["did_Withdrawn"] in good.text
    assert EN["verify_incomplete"] in words((await sent(house, "proof.json", json.dumps(given.unsealed).encode())).text)
    forged = json.loads(json.dumps(given.bundle))
    forged["entries"] = forged["entries"][:-1]
    bad = await sent(house, "proof.json", json.dumps(forged).encode())
    assert EN["verify_no"] in bad.text
    assert EN["verify_yes"] not in bad.text
    twice = json.dumps(given.bundle).replace('"entries":', '"entries": [], "entries":', 1)
    assert EN["verify_no"] in (await sent(house, "proof.json", twice.encode())).text


async def test_a_certificate_is_compared_with_the_document_beside_it(house: House) -> None:
    content = b"the contract as it was signed"
    stored = (await house.client.post("/v1/uploads", content=content)).json()
    about = {"title": "A contract", "version": {"sha256": stored["sha256"], "file_name": "contract.txt"}}
    done = await post(house, "/documents", about)
    await house.settle()
    await in_log(house, done["position"])
    certificate = (await house.client.get(f"/v1/documents/{done['id']}/versions/1/certificate")).content
    alone = words((await sent(house, "c.json", certificate)).text)
    assert EN["verify_yes"] in alone
    assert EN["verify_compare"] in alone
    assert hashlib.sha256(content).hexdigest() in alone
    assert EN["verify_same"] in words((await sent(house, "c.json", certificate, content)).text)
    assert EN["verify_no"] in words((await sent(house, "c.json", certificate, content + b".")).text)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"%PDF-1.7 a scan", b"\xff\xfe", b"{", b"[]", b'{"a": 1}', b"[" * 50_000, b'{"a": NaN}']
)
async def test_a_file_without_a_proof_is_said_to_be_one(house: House, content: bytes) -> None:
    got = await sent(house, "x", content)
    assert got.status_code in {200, 400}
    assert EN["verify_no"] in got.text
    assert EN["verify_none"] in words(got.text) or EN["verify_no_plain"] in words(got.text)


async def test_what_is_no_form_or_too_large_is_answered_with_the_page(house: House) -> None:
    async with house.as_key(None) as stranger:
        for kind in ("application/json", "multipart/form-data", "multipart/form-data; boundary=x"):
            got = await stranger.post("/p/verify", content=b"--y\r\n\r\n--y--", headers={"Content-Type": kind})
            assert (got.status_code, got.headers["content-type"]) == (400, "text/html; charset=utf-8")
        large = await stranger.post("/p/verify", files={"file": ("x", b"0" * 10_100_000)})
        assert (large.status_code, EN["verify_large"] in large.text) == (413, True)


async def test_what_a_proof_discloses_is_shown_as_text_and_never_run(house: House, given: Given) -> None:
    contact = (await post(house, "/contacts", {"given": "Eve"}))["id"]
    refusal = {"purposes": ["news"], "channel": "post", "remark": "<script>alert(1)</script>"}
    done = await post(house, f"/contacts/{contact}/consent:refuse", refusal)
    await house.settle()
    await in_log(house, done["position"])
    bundle = await house.client.get(f"/v1/contacts/{contact}/consent:proof", params={"disclose": "remark"})
    page = (await sent(house, "p.json", bundle.content)).text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page


async def test_an_act_dated_by_whoever_recorded_it_is_shown_with_when_it_was_recorded(house: House, given: Given) -> None:
    contact = (await post(house, "/contacts", {"given": "Ida"}))["id"]
    about = {"purposes": ["news"], "channel": "post", "occurred_at": "2024-02-03T10:00:00Z"}
    done = await post(house, f"/contacts/{contact}/consent:refuse", about)
    await house.settle()
    await in_log(house, done["position"])
    bundle = (await house.client.get(f"/v1/contacts/{contact}/consent:proof")).content
    (dated,) = (await house.client.post("/v1/verify", content=bundle)).json()["chain"]
    at_once = (await house.client.post("/v1/verify", json=given.bundle)).json()["chain"]
    assert dated["at"].startswith("2024-02-03")
    assert dated["recorded_at"] > "2026"
    assert not any("recorded_at" in act for act in at_once)
    page = words((await sent(house, "p.json", bundle)).text)
    assert page.count(EN["verify_recorded"].partition("{at}")[2].strip()) == 1
    vkey = (await house.client.get("/v1/log/vkey")).text
    told = chancery_verify.told(chancery_verify.verify(bundle, chancery_verify.of_keys(vkey)))
    assert told.count(f"recorded {dated['recorded_at']}; the time above is what whoever recorded it said") == 1
    paper = (await house.client.get(f"/v1/contacts/{contact}/consent:paper")).content
    assert "".join(p.extract_text() for p in PdfReader(io.BytesIO(paper)).pages).count("what whoever recorded it said") == 1


def test_parts_of_a_form_are_taken_apart_as_they_were_put_together() -> None:
    whole = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n\r\nx\r\n\r\n--b--\r\n'
    assert parts("multipart/form-data; charset=utf-8; boundary=b", whole) == {"file": b"\r\nx\r\n"}
    many = b"".join(b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % n for n in range(11)) + b"--b--"
    for bad in (b"", many, b"--b\r\n\r\n\r\n--b--", b"--b\r\nno name\r\n\r\nx\r\n--b--"):
        with pytest.raises(HttpProblem):
            parts("multipart/form-data; boundary=b", bad)
