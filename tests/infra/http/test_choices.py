"""A person's own pages: seen without changing anything, changed by forms, obeyed at one click, confirmed by mail over real SMTP."""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio
from aiosmtpd.controller import Controller

from infra.choices.links import Link, LinkExpired, LinkUnusable, Use, read, sign
from infra.choices.words import LANGUAGES, WORDS, language
from infra.database import Database
from infra.settings import Settings
from tests.house import House, a_house, post
from tests.infra.erasure.test_erasure import erased


class Box:
    """Mail as it arrived."""

    def __init__(self) -> None:
        self.mail: list[EmailMessage] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.mail.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"


@pytest.fixture(scope="module")
def box() -> Iterator[tuple[Box, int]]:
    handler = Box()
    controller = Controller(handler, hostname="127.0.0.1", port=0)
    controller.port = _free()
    controller.start()
    yield handler, controller.port
    controller.stop()


def _free() -> int:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(settings: Settings, database: Database, box: tuple[Box, int]) -> Any:
    from pydantic import SecretStr

    how = {
        "smtp_url": SecretStr(f"smtp://127.0.0.1:{box[1]}"),
        "mail_from": "A firm <consent@firm.example>",
        "public_url": "http://chancery",
    }
    async with a_house(settings.model_copy(update=how), database) as opened:
        await post(opened, "/purposes", {"key": "news", "name": "News", "dpv": "https://w3id.org/dpv#DirectMarketing"})
        await post(opened, "/purposes", {"key": "sale", "name": "Partners", "dpv": "https://w3id.org/dpv#SellDataToThirdParties"})
        text = {"title": "Privacy", "language": "en", "text": "We write <b>monthly</b>.", "purposes": ["news", "sale"]}
        notice = (await post(opened, "/notices", text))["id"]
        german = {"language": "de", "notice_version": 1, "text": "Wir schreiben monatlich."}
        assert (await opened.client.post(f"/v1/notices/{notice}:translate", json=german)).status_code < 300
        await opened.settle()
        yield opened


async def a_person(house: House, *given: str) -> tuple[str, str, str]:
    """A contact, their preference link and their unsubscribe link."""
    contact = (await post(house, "/contacts", {"given": "Ann-Sofie", "family": "Ash"}))["id"]
    notices = (await house.client.get("/v1/notices", params={"filter": 'title = "Privacy"'})).json()["items"]
    for purpose in given:
        about = {"purposes": [purpose], "channel": "email", "notice": {"id": notices[0]["id"]}}
        await post(house, f"/contacts/{contact}/consent:give", about)
    await house.settle()
    links = await post(house, f"/contacts/{contact}/consent:links", {"purpose": "news", "channel": "email"})
    assert links["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    return contact, links["preferences"], links["unsubscribe"]


async def allowed(house: House, contact: str, purpose: str = "news") -> bool:
    params = {"contact": contact, "purpose": purpose, "channel": "email"}
    return bool((await house.client.get("/v1/consent/decision", params=params)).json()["allowed"])


async def events(house: House, contact: str) -> list[dict[str, Any]]:
    return list((await house.client.get(f"/v1/contacts/{contact}/consent")).json()["events"])


def form(page: str) -> list[tuple[str, str]]:
    """What a browser would send if the form were sent as it is."""
    boxes = re.findall(r'<input type="checkbox" name="c" value="([^"]+)"([^>]*)>', page)
    return [("c", value) for value, rest in boxes if "checked" in rest] + [
        ("s", v) for v in re.findall(r'<input type="hidden" name="s" value="([^"]+)"', page)
    ]


@pytest.mark.invariant("CH2")
@pytest.mark.invariant("CH5")
async def test_a_page_that_is_looked_at_changes_nothing_and_is_neither_kept_nor_framed(house: House) -> None:
    contact, preferences, unsubscribe = await a_person(house, "news")
    async with house.as_key(None) as person:
        for url in (preferences, unsubscribe):
            got = await person.get(url)
            assert got.status_code == 200
            assert got.headers["cache-control"] == "no-store"
            assert "frame-ancestors 'none'" in got.headers["content-security-policy"]
            assert "<script" not in got.text
    assert len(await events(house, contact)) == 1
    assert await allowed(house, contact)


async def test_what_is_ticked_is_given_and_what_is_unticked_is_withdrawn(house: House) -> None:
    contact, preferences, _ = await a_person(house, "news")
    async with house.as_key(None) as person:
        page = (await person.get(preferences)).text
        assert "We write &lt;b&gt;monthly&lt;/b&gt;." in page
        sent = [(k, v) for k, v in form(page) if (k, v) != ("c", "news/email")] + [("c", "sale/email"), ("do", "save")]
        saved = await person.post(
            preferences, content=urlencode(sent), headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert WORDS["en"]["saved"] in saved.text
    assert not await allowed(house, contact)
    assert await allowed(house, contact, "sale")
    last = (await events(house, contact))[-1]
    assert (last["actor"], last["collection_method"], last["notice_language"]) == ("person", "preference_centre", "en")


async def test_the_form_sent_as_it_is_records_nothing(house: House) -> None:
    contact, preferences, _ = await a_person(house, "news")
    async with house.as_key(None) as person:
        sent = [*form((await person.get(preferences)).text), ("do", "save")]
        await person.post(preferences, content=urlencode(sent))
    assert len(await events(house, contact)) == 1


async def test_everything_is_withdrawn_at_once(house: House) -> None:
    contact, preferences, _ = await a_person(house, "news", "sale")
    async with house.as_key(None) as person:
        await person.post(preferences, data={"do": "none"})
        assert (await person.post(preferences, data={"do": "none"})).status_code == 200
    assert not await allowed(house, contact)
    assert not await allowed(house, contact, "sale")


@pytest.mark.invariant("CH3")
async def test_the_page_to_unsubscribe_says_from_what_and_on_which_channel(house: House) -> None:
    contact, _, _ = await a_person(house, "news")
    for asked, said in (({}, "<li>email</li>"), ({"purpose": "news", "channel": "sms"}, "(text message)</li>")):
        link = (await post(house, f"/contacts/{contact}/consent:links", asked))["unsubscribe"]
        async with house.as_key(None) as person:
            assert said in (await person.get(link, headers={"Accept-Language": "en"})).text


async def test_one_click_unsubscribes_without_a_page_or_a_question_and_twice_is_as_once(house: House) -> None:
    contact, _, unsubscribe = await a_person(house, "news", "sale")
    async with house.as_key(None) as program:
        for _ in range(2):
            done = await program.post(unsubscribe, data={"List-Unsubscribe": "One-Click"})
            assert done.status_code == 200
    assert not await allowed(house, contact)
    assert await allowed(house, contact, "sale")
    found = await events(house, contact)
    assert [e["collection_method"] for e in found if e["status"] == "withdrawn"] == ["one_click_unsubscribe"]


@pytest.mark.invariant("CH4")
async def test_global_privacy_control_opts_out_of_sale_and_nothing_else(house: House) -> None:
    contact, preferences, _ = await a_person(house, "news", "sale")
    async with house.as_key(None) as person:
        page = await person.get(preferences, headers={"Sec-GPC": "1"})
        assert "Global Privacy Control" in page.text
        await person.get(preferences, headers={"Sec-GPC": "0"})
    assert await allowed(house, contact)
    assert not await allowed(house, contact, "sale")


async def test_where_nothing_is_sold_global_privacy_control_is_not_said_to_be_recorded(house: House) -> None:
    other = await house.another_firm()
    contact = (await post(other, "/contacts", {"given": "Ann"}))["id"]
    await post(other, "/purposes", {"key": "news", "name": "News", "dpv": "https://w3id.org/dpv#DirectMarketing"})
    await other.settle()
    preferences = (await post(other, f"/contacts/{contact}/consent:links", {}))["preferences"]
    async with house.as_key(None) as person:
        page = (await person.get(preferences, headers={"Sec-GPC": "1"})).text
        assert (WORDS["en"]["gpc_none"] in page, WORDS["en"]["gpc"] in page) == (True, False)
    assert await events(other, contact) == []


@pytest.mark.invariant("CH2")
async def test_a_double_opt_in_goes_by_mail_and_is_confirmed_by_a_form_alone(house: House, box: tuple[Box, int]) -> None:
    contact, _, _ = await a_person(house)
    notices = (await house.client.get("/v1/notices", params={"filter": 'title = "Privacy"'})).json()["items"]
    asked = {
        "purposes": ["news"],
        "channel": "email",
        "contact_point": "ann@example.org",
        "notice": {"id": notices[0]["id"]},
        "language": "de",
    }
    sent = await house.client.post(f"/v1/contacts/{contact}/consent:send-request", json=asked)
    assert sent.status_code == 200, sent.text
    assert "token" not in sent.json()
    mail = box[0].mail[-1]
    assert mail["To"] == "ann@example.org"
    assert "bestätigen" in mail["Subject"]
    url = next(line for line in mail.get_content().splitlines() if line.startswith("http://chancery/p/choices/"))
    async with house.as_key(None) as person:
        for _ in range(3):  # a scanner follows the link
            assert "News" in (await person.get(url)).text
        assert not await allowed(house, contact)
        done = await person.post(url, data={"do": "yes"})
        assert WORDS["en"]["confirm_done"] in done.text
        again = await person.post(url, data={"do": "yes"}, headers={"Accept-Language": "de"})
        assert (again.status_code, WORDS["de"]["confirm_used"] in again.text) == (409, True)
        looked = await person.get(url)  # the button is not offered twice
        assert (looked.status_code, WORDS["en"]["confirm_used"] in looked.text, "<button" in looked.text) == (200, True, False)
    assert await allowed(house, contact)
    last = (await events(house, contact))[-1]
    assert (last["type"], last["collection_method"]) == ("consent.Confirmed.v1", "double_opt_in")


async def test_a_confirmation_that_was_sent_anew_is_told_by_the_older_mail_in_the_persons_language(
    house: House, box: tuple[Box, int]
) -> None:
    contact, _, _ = await a_person(house)
    notices = (await house.client.get("/v1/notices", params={"filter": 'title = "Privacy"'})).json()["items"]
    asked = {"purposes": ["news"], "channel": "email", "contact_point": "ann@example.org", "notice": {"id": notices[0]["id"]}}
    for resend in (False, True):
        sent = await house.client.post(f"/v1/contacts/{contact}/consent:send-request", json={**asked, "resend": resend})
        assert sent.status_code == 200, sent.text
    urls = [next(x for x in m.get_content().splitlines() if x.startswith("http://chancery/p/choices/")) for m in box[0].mail[-2:]]
    async with house.as_key(None) as person:
        for _ in range(2):
            older = await person.get(urls[0], headers={"Accept-Language": "fr"})
            assert (older.status_code, "<button" in older.text) == (200, False)
            assert WORDS["fr"]["confirm_over"].replace("'", "&#39;") in older.text
        clicked = await person.post(urls[0], data={"do": "yes"}, headers={"Accept-Language": "fr"})
        assert (clicked.status_code, WORDS["fr"]["confirm_over"].replace("'", "&#39;") in clicked.text) == (409, True)
        assert not await allowed(house, contact)
        assert WORDS["en"]["confirm_done"] in (await person.post(urls[1], data={"do": "yes"})).text


async def test_a_form_that_was_not_made_here_is_not_said_to_be_saved(house: House) -> None:
    contact, preferences, _ = await a_person(house, "news")
    async with house.as_key(None) as person:
        for content in (b"", b"{}", b"\xff\xfe", b"List-Unsubscribe=One-Click", b"do=dance"):
            got = await person.post(preferences, content=content, headers={"Accept-Language": "de"})
            assert (got.status_code, WORDS["de"]["trouble_saving"] in got.text) == (400, True), content
    assert len(await events(house, contact)) == 1


async def test_a_mail_server_that_is_away_is_said_and_the_request_can_be_sent_again(settings: Settings, house: House) -> None:
    contact, _, _ = await a_person(house)
    service_settings = house.chancery.settings
    broken = service_settings.model_copy(update={"smtp_url": type(service_settings.smtp_url)(f"smtp://127.0.0.1:{_free()}")})  # type: ignore[misc]
    house.chancery.settings = broken
    notices = (await house.client.get("/v1/notices", params={"filter": 'title = "Privacy"'})).json()["items"]
    asked = {"purposes": ["news"], "channel": "email", "contact_point": "ann@example.org", "notice": {"id": notices[0]["id"]}}
    try:
        failed = await house.client.post(f"/v1/contacts/{contact}/consent:send-request", json=asked)
        assert (failed.status_code, failed.json()["type"]) == (502, "urn:chancery:problem:mail-not-sent")
        assert "ann@example.org" not in failed.text
    finally:
        house.chancery.settings = service_settings
    again = await house.client.post(f"/v1/contacts/{contact}/consent:send-request", json={**asked, "resend": True})
    assert again.status_code == 200


async def test_a_view_that_stands_still_keeps_back_no_mail_whose_request_is_recorded(house: House, box: tuple[Box, int]) -> None:
    first, second = (await a_person(house))[0], (await a_person(house))[0]
    notices = (await house.client.get("/v1/notices", params={"filter": 'title = "Privacy"'})).json()["items"]
    asked = {"purposes": ["news"], "channel": "email", "contact_point": "ann@example.org", "notice": {"id": notices[0]["id"]}}
    await house.settle()

    async def alter(sql: str) -> None:
        async with await house.chancery.database.connect_async("record") as c:
            await c.execute(sql.encode())

    # as an event that could not be applied leaves it
    await alter("UPDATE chancery.projections SET stopped_at = position + 1, error = 'ZeroDivisionError' WHERE name = 'consents'")
    try:
        before = len(box[0].mail)
        sent = await house.client.post(f"/v1/contacts/{first}/consent:send-request", json=asked)
        assert (sent.status_code, len(box[0].mail) - before) == (200, 1), sent.text
        assert "News" in box[0].mail[-1].get_content()
        # now it is behind: nothing is recorded, so that asking again asks
        refused = await house.client.post(f"/v1/contacts/{second}/consent:send-request", json=asked)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:chancery:problem:view-behind")
    finally:
        await alter("UPDATE chancery.projections SET stopped_at = NULL, error = NULL WHERE name = 'consents'")
        await alter("SELECT pg_notify('chancery_events', '')")
        async with asyncio.timeout(60):
            while (await house.client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
        await house.settle()
    assert [len(await events(house, c)) for c in (first, second)] == [1, 0]
    assert (await house.client.post(f"/v1/contacts/{second}/consent:send-request", json=asked)).status_code == 200


@pytest.mark.invariant("CH1")
async def test_a_link_that_was_changed_made_up_or_of_another_firm_opens_nothing(house: House) -> None:
    _, preferences, _ = await a_person(house, "news")
    segment = preferences.rpartition("/")[2]
    async with house.as_key(None) as person:
        for bad in (segment[:-1], segment[:-1] + ("A" if segment[-1] != "A" else "B"), "x", "A" * 90, "%00"):
            got = await person.get(f"/p/choices/{bad}")
            assert got.status_code == 404
            assert "Ann-Sofie" not in got.text
    vault = house.chancery.vault
    link = read(vault, segment)
    with pytest.raises(LinkUnusable):
        read(type(vault)(vault.folder.parent / "other-keys"), segment)
    with pytest.raises(LinkExpired):
        read(vault, sign(vault, link, now=0.0))
    assert read(vault, sign(vault, Link(use=Use.CONFIRM, firm=link.firm, contact=link.contact, token="t" * 30))).token == "t" * 30


@pytest.mark.parametrize("lang", [code for code, _ in LANGUAGES])
async def test_every_language_has_every_sentence_and_its_page(house: House, lang: str) -> None:
    assert set(WORDS[lang]) == set(WORDS["en"])
    for key, sentence in WORDS["en"].items():
        assert set(re.findall(r"{\w+}", WORDS[lang][key])) == set(re.findall(r"{\w+}", sentence)), key
    _, preferences, _ = await a_person(house, "news")
    async with house.as_key(None) as person:
        got = await person.get(preferences, headers={"Accept-Language": f"{lang}-XX;q=0.9, xx;q=1"})
        assert f'<html lang="{lang}">' in got.text
        assert WORDS[lang]["title"] in got.text


def test_a_language_is_chosen_by_what_is_wished_for() -> None:
    assert language("de") == "de"
    assert language(None, "xx, fr;q=0.5, it;q=0.8") == "it"
    assert language("zz", None, "") == "en"
    assert language("de;q=0, es;q=nonsense") == "en"


async def save(house: House, url: str, sent: list[tuple[str, str]]) -> httpx.Response:
    async with house.as_key(None) as person:
        return await person.post(url, content=urlencode(sent), headers={"Content-Type": "application/x-www-form-urlencoded"})


def whole_form(page: str) -> list[tuple[str, str]]:
    return [*form(page), *(("n", v) for v in re.findall(r'<input type="hidden" name="n" value="([^"]+)"', page)), ("do", "save")]


async def test_the_link_of_a_merged_contact_shows_and_ends_what_the_other_one_gave(house: House) -> None:
    kept, _, _ = await a_person(house, "news")
    gone, preferences, unsubscribe = await a_person(house)
    await post(house, f"/contacts/{kept}:merge", {"other": gone})
    await house.settle()
    async with house.as_key(None) as person:
        page = (await person.get(preferences)).text
    assert ("c", "news/email") in form(page)
    assert await allowed(house, kept)
    await save(house, preferences, [x for x in whole_form(page) if x != ("c", "news/email")])
    assert not await allowed(house, kept)
    other, _, _ = await a_person(house, "news")
    absorbed, all_of_it, _ = await a_person(house, "sale")
    await post(house, f"/contacts/{other}:merge", {"other": absorbed})
    await house.settle()
    assert await allowed(house, other, "sale")
    await save(house, all_of_it, [("do", "none")])
    assert not await allowed(house, other)
    assert not await allowed(house, other, "sale")
    assert (await save(house, unsubscribe, [("List-Unsubscribe", "One-Click")])).status_code == 200


async def test_the_link_of_an_erased_contact_records_nothing(house: House) -> None:
    contact, preferences, unsubscribe = await a_person(house, "news")
    async with house.as_key(None) as person:
        page = (await person.get(preferences)).text
    await erased(house, contact)
    before = len(await events(house, contact))
    for url in (preferences, unsubscribe):
        done = await save(house, url, whole_form(page))
        assert (done.status_code, WORDS["en"]["erased"] in done.text) == (200, True)
        async with house.as_key(None) as person:
            assert WORDS["en"]["erased"] in (await person.get(url, headers={"Sec-GPC": "1"})).text
    assert len(await events(house, contact)) == before
    assert not await allowed(house, contact)


async def test_a_purpose_retired_between_look_and_save_is_still_refused(house: House) -> None:
    purpose = await post(house, "/purposes", {"key": "briefs", "name": "Briefs", "dpv": "https://w3id.org/dpv#DirectMarketing"})
    text = {"title": "Briefs", "language": "en", "text": "Briefly.", "purposes": ["briefs"]}
    notice = (await post(house, "/notices", text))["id"]
    contact = (await post(house, "/contacts", {"given": "Bo", "family": "Ash"}))["id"]
    about = {"purposes": ["briefs"], "channel": "email", "notice": {"id": notice}}
    await post(house, f"/contacts/{contact}/consent:give", about)
    await house.settle()
    preferences = (await post(house, f"/contacts/{contact}/consent:links", {}))["preferences"]
    async with house.as_key(None) as person:
        page = (await person.get(preferences)).text
    await post(house, f"/purposes/{purpose['id']}:retire", {})
    await house.settle()
    unticked = [x for x in whole_form(page) if x != ("c", "briefs/email")] + [("c", "briefs/post")]
    assert (await save(house, preferences, unticked)).status_code == 200
    assert [e["status"] for e in await events(house, contact)] == ["given", "withdrawn"]


async def test_consent_rests_on_the_text_that_stood_on_the_page_and_not_on_a_newer_one(house: House) -> None:
    await post(house, "/purposes", {"key": "talks", "name": "Talks", "dpv": "https://w3id.org/dpv#DirectMarketing"})
    text = {"title": "Talks", "language": "en", "text": "We invite.", "purposes": ["talks"]}
    notice = (await post(house, "/notices", text))["id"]
    contact = (await post(house, "/contacts", {"given": "Cy", "family": "Ash"}))["id"]
    await house.settle()
    preferences = (await post(house, f"/contacts/{contact}/consent:links", {}))["preferences"]
    async with house.as_key(None) as person:
        page = (await person.get(preferences)).text
    ticked = [*whole_form(page), ("c", "talks/email")]
    await post(house, f"/notices/{notice}:publish", {**text, "text": "We invite often.", "material": False})
    await house.settle()
    assert (await save(house, preferences, ticked)).status_code == 200
    (given,) = await events(house, contact)
    assert given["notice_version"] == 1
    await post(
        house, f"/notices/{notice}:publish", {**text, "text": "We sell invitations.", "material": True, "new_purposes": ["talks"]}
    )
    await house.settle()
    fresh = (await post(house, "/contacts", {"given": "Di", "family": "Ash"}))["id"]
    await house.settle()
    other = (await post(house, f"/contacts/{fresh}/consent:links", {}))["preferences"]
    refused = await save(house, other, ticked)
    assert refused.status_code == 409  # what was read then means something else now
    assert WORDS["en"]["refused_plain"].replace("'", "&#39;") in refused.text
    assert await events(house, fresh) == []
    for bad in ("talks x 1 en", "talks 00000000-0000-0000-0000-000000000000 0 en", "talks"):
        sent = [x for x in ticked if x[0] != "n"] + [("n", bad)]
        assert (await save(house, other, sent)).status_code in {200, 400}


@pytest.mark.parametrize(
    "to",
    [
        "ann@example.org, eve@example.org",
        "ann@example.org\nBcc: eve@example.org",
        "Ann <ann@example.org>",
        "ann@example.org\r\n\r\nhello",
        "ann",
        "<ann@example.org>",
        '"a b"@example.org',
        "group: ann@example.org;",
    ],
)
async def test_a_request_goes_to_one_address_and_nothing_is_recorded_for_two(house: House, box: tuple[Box, int], to: str) -> None:
    contact = (await post(house, "/contacts", {"given": "Ann", "family": "Ash"}))["id"]
    notices = (await house.client.get("/v1/notices", params={"filter": 'title = "Privacy"'})).json()["items"]
    before = len(box[0].mail)
    asked = {"purposes": ["news"], "channel": "email", "contact_point": to, "notice": {"id": notices[0]["id"]}}
    got = await house.client.post(f"/v1/contacts/{contact}/consent:send-request", json=asked)
    assert got.status_code == 422, got.text
    assert "eve@" not in got.text
    await house.settle()
    assert await events(house, contact) == []
    assert len(box[0].mail) == before


async def test_names_from_outside_end_no_line_of_a_header() -> None:
    from infra.choices.mail import _line

    assert _line("Ash\r\nBcc: eve@example.org\x00\u2028x") == "Ash Bcc: eve@example.org x"


async def test_odd_forms_are_refused_in_words_and_odd_links_are_not_made(house: House) -> None:
    contact, preferences, _ = await a_person(house, "news")
    assert (await save(house, preferences, [("c", "x")] * 6_000)).status_code == 400
    async with house.as_key(None) as person:
        large = await person.post(f"{preferences}?lang=de", content=b"c=" + b"x" * 1_000_001)
        assert (large.status_code, large.headers["content-type"]) == (413, "text/html; charset=utf-8")
        assert "Das hat nicht geklappt" in large.text
        assert "urn:chancery" not in large.text
        for body in (b"\xff\xfe=%ff&s=%00&c=%00", b"s=news&c=news", b"%%%", b""):
            assert (await person.post(preferences, content=body)).status_code == 400  # said to be saved it would be a lie
        got = await person.get(f"{preferences}?lang=%22%3E%3Cscript%3E&lang=de")
        assert "<script" not in got.text
        assert (await person.options(preferences)).status_code in {204, 405}
        assert (await person.head(preferences, headers={"Sec-GPC": "1"})).status_code in {200, 405}
    assert [e["status"] for e in await events(house, contact)] == ["given"]
    refused: list[dict[str, Any]] = [
        {"purpose": "News"},
        {"purpose": "a\x00b"},
        {"purpose": 7},
        {"channel": ["email"]},
        {"channel": {}},
        {"x": 1},
    ]
    for bad in refused:
        assert (await house.client.post(f"/v1/contacts/{contact}/consent:links", json=bad)).status_code == 422, bad
    assert (await house.client.post(f"/v1/contacts/{contact}/consent:links", json={"purpose": "no-such"})).status_code == 404


async def test_a_crowd_behind_one_network_all_unsubscribe_and_guesses_are_slowed(house: House) -> None:
    people = [await a_person(house, "news") for _ in range(3)]
    async with house.as_key(None) as program:
        got = await asyncio.gather(*(program.get("/p/choices/guess") for _ in range(200)))  # more than may come at once
        slowed = [g for g in got if g.status_code == 429]
        assert slowed
        assert all("retry-after" in g.headers for g in slowed)
        for _, _, unsubscribe in people:
            assert (await program.post(unsubscribe, data={"List-Unsubscribe": "One-Click"})).status_code == 200
