"""The pages on which a person says yes and no without an account, and what makes the links to them (infra.choices)."""

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import jinja2
import orjson
import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from commands.consent import ConfirmConsent, GiveConsent, OptOutOfSale, RequestConsent, WithdrawConsent
from commands.kernel import Actor, Command
from domain import consent, purposes
from domain.consent import CONSENT
from domain.consent.refusals import NoLiveRequest, RequestHasExpired, TokenUnknown, TokenUsed
from domain.consent.words import Channel
from domain.kernel import FirmId, Refused
from infra.choices.links import Link, LinkExpired, LinkUnusable, Use, read, sign
from infra.choices.mail import MailNotSent, mailer, unsubscribe_headers
from infra.choices.standing import Page, Row, page, survivor
from infra.choices.words import LANGUAGES, WORDS, day, language
from infra.http import problems
from infra.http.commands import json_object, path_id, read_body
from infra.http.problems import HttpProblem
from infra.http.reads import json_response, parameters
from infra.http.routing import Endpoint
from infra.http.service import Service
from infra.http.times import refuse_numbers
from infra.record.appender import Busy, OutcomeUnknown, Unavailable
from infra.record.execute import Answer, TooContended

log = structlog.get_logger()

PAGES = Path(__file__).parents[1] / "choices" / "pages"
STYLE = (PAGES / "style.css").read_text("utf-8")
MOST_FORM = 1_000_000
MOST_BODY = 100_000
MOST_FIELDS = 5_000  # 200 purposes over 6 channels, twice each, and what the buttons say
ONE_ADDRESS = re.compile(r"[^\s\x00-\x20\x7f@,;:<>()\[\]\"\\]{1,64}@[^\s\x00-\x20\x7f@,;:<>()\[\]\"\\]{1,255}")
NAMED = ("consents", "contacts", "purposes", "notices", "notice_texts", "suppressions", "firms")
WRITE = frozenset({"consent:write"})
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


def templates() -> jinja2.Environment:
    """The pages for people without an account."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Choices:
    """The routes of a person's choices."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._templates = templates()

    def routes(self) -> list[tuple[str, str, str, Endpoint]]:
        return [
            ("GET", "/p/choices/{link}", "choices.look", self._in_words(self._look)),
            ("POST", "/p/choices/{link}", "choices.choose", self._in_words(self._choose)),
            ("POST", "/v1/contacts/{id}/consent:links", "consent.links", self._links),
            ("POST", "/v1/contacts/{id}/consent:send-request", "consent.send_request", self._send_request),
        ]

    # --- pages

    def _in_words(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint with every problem as a page: whoever reads it is a person."""

        async def run(request: Request) -> Response:
            try:
                return await endpoint(request)
            except Exception as e:
                problem = problems.of(e, request.state.request_id)
                words = WORDS[self._language(request)]
                plain = words["trouble_saving" if request.method == "POST" else "trouble_plain"]
                told = self._simple(request, words["trouble_title"], plain, problem.status_code)
                if "retry-after" in problem.headers:
                    told.headers["Retry-After"] = problem.headers["retry-after"]
                return told

        return run

    async def _look(self, request: Request) -> Response:
        found = await self._read(request)
        if isinstance(found, Response):
            return found
        gpc = await self._obey(request, found)
        return await self._page(request, found, self._gpc(request, gpc), status=200)

    async def _choose(self, request: Request) -> Response:
        """A form that was sent, or one click of a mail program (RFC 8058)."""
        found = await self._read(request)
        if isinstance(found, Response):
            return found
        raw = (await read_body(request, MOST_FORM)).decode("utf-8", "replace")
        try:
            form = parse_qsl(raw, keep_blank_values=True, max_num_fields=MOST_FIELDS)
        except ValueError as e:
            raise HttpProblem(400, "form-too-long", f"The form has more than {MOST_FIELDS} fields.") from e
        one_click = ("List-Unsubscribe", "One-Click") in form or ('name="List-Unsubscribe"' in raw and "One-Click" in raw)
        gpc = await self._obey(request, found)
        said = self._gpc(request, gpc)
        words = WORDS[self._language(request)]
        try:
            match found.use:
                case Use.UNSUBSCRIBE:
                    await self._unsubscribe(request, found, one_click=one_click)
                    return await self._page(request, found, [*said, words["unsubscribe_done"]], done=True)
                case Use.CONFIRM:
                    await self._do(
                        found,
                        ConfirmConsent(id=found.contact, token=found.token, **self._evidence(request, "double_opt_in")),
                    )
                    return await self._page(request, found, [*said, words["confirm_done"]], done=True)
                case _:
                    await self._save(request, found, form)
                    return await self._page(request, found, [*said, words["saved"]])
        except (Busy, Unavailable, OutcomeUnknown, TooContended):
            raise
        except Refused as e:
            log.info("choices.refused", why=type(e).__name__)
            if isinstance(e, TokenUsed | TokenUnknown | RequestHasExpired | NoLiveRequest):
                return await self._page(request, found, said, status=409)
            return self._simple(request, words["refused_title"], words["refused_plain"], 409, more=request.url.path)

    async def _read(self, request: Request) -> Link | Response:
        """Whom the link is about now: the one into whom they were merged. A good link is counted by itself, because the readers of one mail
        provider unsubscribe from one network; others are counted by where they come from."""
        words = WORDS[self._language(request)]
        gone = self._simple(request, words["gone_title"], words["gone_plain"], 404)
        try:
            link = read(self._service.chancery.vault, request.path_params["link"])
        except (LinkUnusable, LinkExpired):
            self._service.take_of_stranger(request)
            return gone
        self._service.take_of_link(str(link.contact))
        async with self._service.chancery.readers.reading(FirmId(link.firm), frozenset({"consent:read"})) as r:
            now = await survivor(r, link.contact)
        if now is None:
            return gone
        contact, erased = now
        if erased:
            return self._simple(request, words["title"], words["erased"], 200)
        # a token is looked for in the chain in which it was asked with; what it confirms counts for the whole person
        return link if link.use is Use.CONFIRM else replace(link, contact=contact)

    @staticmethod
    def _language(request: Request, *wishes: str) -> str:
        return language(request.query_params.get("lang"), *wishes, request.headers.get("accept-language"))

    def _simple(self, request: Request, title: str, sentence: str, status: int, *, more: str | None = None) -> Response:
        lang = self._language(request)
        return self._rendered("ask.html", lang, status, title=title, firm=None, said=[], ask=sentence, more=more)

    def _rendered(self, name: str, lang: str, status: int, **values: Any) -> Response:
        blank: dict[str, Any] = {"items": [], "notice": None, "do": None, "small": None, "more": None, "ask": None}
        text = self._templates.get_template(name).render(
            {**blank, "lang": lang, "words": WORDS[lang], "languages": LANGUAGES, "style": STYLE, **values}
        )
        return HTMLResponse(text, status_code=status, headers={**HEADERS, "Content-Language": lang})

    async def _page(self, request: Request, link: Link, said: list[str], *, status: int = 200, done: bool = False) -> Response:
        shown = await self._standing(request, link)
        lang = self._language(request)
        if shown is None:
            return self._simple(request, WORDS[lang]["gone_title"], WORDS[lang]["gone_plain"], 404)
        words = WORDS[lang]
        about = {"firm": shown.firm, "said": said}
        if link.use is Use.PREFERENCES or shown.erased:
            return self._rendered(
                "preferences.html", lang, status, title=words["title"], erased=shown.erased, rows=shown.rows, **about
            )
        more = f"/p/choices/{sign(self._service.chancery.vault, Link(use=Use.PREFERENCES, firm=link.firm, contact=link.contact))}"
        if link.use is Use.UNSUBSCRIBE:
            ask = words["unsubscribe_ask" if link.purpose else "unsubscribe_all"].format(firm=shown.firm)
            by = words[link.channel or Channel.EMAIL]
            names = [f"{r.name} ({by})" for r in shown.rows if r.key == link.purpose] or [by]
            return self._rendered(
                "ask.html", lang, status, title=words["unsubscribe_title"], ask=None if done else ask, items=names, more=more,
                do=None if done else words["unsubscribe_do"], **about,
            )  # fmt: skip
        names, notice, over = await self._asked(link, shown)
        if over is not None and not done:
            about["said"] = [*said, words[over]]
            done = True
        ask = words["confirm_ask"].format(firm=shown.firm)
        return self._rendered(
            "ask.html", lang, status, title=words["confirm_title"], ask=None if done else ask, items=names, notice=notice, more=more,
            do=None if done else words["confirm_do"], small=None if done else words["confirm_not"], **about,
        )  # fmt: skip

    async def _standing(self, request: Request, link: Link) -> Page | None:
        chancery = self._service.chancery
        async with chancery.readers.reading(FirmId(link.firm), frozenset({"consent:read", "personal:read"})) as r:
            return await page(r, link.contact, self._language(request), datetime.now(UTC))

    async def _asked(self, link: Link, shown: Page) -> tuple[list[str], str | None, str | None]:
        """What a confirmation is about: the names of the purposes and the notice's text, and the word for why it can be given no more."""
        entity = await self._service.chancery.executor.load(FirmId(link.firm), CONSENT, link.contact)
        found = consent.requested_with(entity.state, link.token)
        if found is None:
            return [], None, "confirm_over"
        now = datetime.now(UTC)
        keys = {p.key for p in found.purposes}
        rows = [r for r in shown.rows if r.key in keys]
        open_now = [entity.state.at(key, found.channel, now).request for key in keys]
        live = found.answer_by > now and any(r is not None and r.record_id == found.record_id for r in open_now)
        over = "confirm_used" if found.confirmed else None if live else "confirm_over"
        return [r.name for r in rows], next((r.notice for r in rows if r.notice), None), over

    # --- what a person does

    async def _do(self, link: Link, command: Command) -> Answer:
        chancery = self._service.chancery
        done = await chancery.executor.execute(
            command, firm=FirmId(link.firm), actor=Actor("person", str(link.contact)), permissions=WRITE, target=link.contact
        )
        await chancery.feed.wait(("consents",), done.position)
        return done

    @staticmethod
    def _evidence(request: Request, method: str) -> dict[str, Any]:
        """Where it came from, sealed with the act."""
        out: dict[str, Any] = {"collection_method": method, "capture_source": "choices page"}
        with contextlib.suppress(ValueError):
            out["ip_address"] = ipaddress.ip_address(request.client.host if request.client else "")
        agent = "".join(ch for ch in request.headers.get("user-agent", "") if ch.isprintable())[:1000]
        return {**out, **({"user_agent": agent} if agent else {})}

    async def _unsubscribe(self, request: Request, link: Link, *, one_click: bool) -> None:
        how = self._evidence(request, "one_click_unsubscribe" if one_click else "preference_centre")
        purposes = (link.purpose,) if link.purpose else ()
        channel = link.channel or Channel.EMAIL
        await self._do(link, WithdrawConsent(id=link.contact, purposes=purposes, channel=channel, **how))

    async def _save(self, request: Request, link: Link, form: list[tuple[str, str]]) -> None:
        """Record what differs from what stands: what was ticked and is not, and what was not and is."""
        shown = await self._standing(request, link)
        if shown is None or shown.erased:
            return
        if not {("do", "save"), ("do", "none")} & set(form):
            raise HttpProblem(400, "form-malformed", "The form is not one that was made here. Open the page again.")
        how = self._evidence(request, "preference_centre")
        if ("do", "none") in form:
            for (
                channel
            ) in shown.known:  # over each by name, because what was given may stand in a chain that was merged into this one
                await self._do(link, WithdrawConsent(id=link.contact, channel=channel, **how))
            return
        ticked, seen = {v for k, v in form if k == "c"}, {v for k, v in form if k == "s"}
        texts = [v.split(" ") for k, v in form if k == "n"]
        read_then = {n[0]: n[1:] for n in texts if len(n) == 4}
        boxes = [(row, box) for row in (*shown.rows, *shown.retired) for box in row.channels if box.value in seen]
        # a no is recorded first, so that no yes that can't be recorded stands in its way
        for row, box in boxes:
            if box.given and box.value not in ticked:
                await self._do(link, WithdrawConsent(id=link.contact, purposes=(row.key,), channel=Channel(box.channel), **how))
        for row, box in boxes:
            if box.given or box.value not in ticked or row.shown is None:
                continue
            about = {"id": str(link.contact), "purposes": [row.key], "channel": box.channel, "notice": self._seen(row, read_then)}
            await self._do(link, GiveConsent.model_validate({**about, **how}))

    @staticmethod
    def _seen(row: Row, read_then: Mapping[str, list[str]]) -> dict[str, Any]:
        """The text that stood on the page when the form was made, which may have a successor by now."""
        id, version, lang = read_then.get(row.key) or [str(x) for x in row.shown or ()]
        if not (re.fullmatch(r"[0-9a-f-]{36}", id) and re.fullmatch(r"[1-9][0-9]{0,5}", version) and len(lang) <= 35):
            raise HttpProblem(400, "form-malformed", "The form is not one that was made here. Open the page again.")
        return {"id": id, "version": int(version), "language": lang}

    async def _obey(self, request: Request, link: Link) -> str | None:
        """Global Privacy Control, as the browser says it with every request; obeyed once. The word for what came of it."""
        if request.headers.get("sec-gpc", "").strip() != "1" or request.method not in {"GET", "POST"}:
            return None
        try:
            await self._do(link, OptOutOfSale(id=link.contact, **self._evidence(request, "gpc_signal")))
        except Refused as e:
            log.info("choices.refused", why=type(e).__name__)
            return None
        tree = await self._service.chancery.executor.load(FirmId(link.firm), purposes.PURPOSES, link.firm)
        return "gpc" if purposes.sold(tree.state) else "gpc_none"

    def _gpc(self, request: Request, word: str | None) -> list[str]:
        return [WORDS[self._language(request)][word]] if word is not None else []

    # --- links and mail, for whoever works at the firm

    def _url(self, link: Link) -> str:
        chancery = self._service.chancery
        return f"{chancery.settings.public_url.rstrip('/')}/p/choices/{sign(chancery.vault, link)}"

    async def _links(self, request: Request) -> Response:
        principal = await self._service.principal(request)
        principal.need("consent:write")
        parameters(request, ())
        contact = path_id(request)
        body = json_object(request, await read_body(request, MOST_BODY), MOST_BODY)
        purpose, channel = body.pop("purpose", ""), body.pop("channel", "email")
        if (
            body
            or not isinstance(purpose, str)
            or not re.fullmatch(r"([a-z][a-z0-9]*(-[a-z0-9]+)*)?", purpose[:65])
            or not isinstance(channel, str)
            or channel not in {c.value for c in Channel}
            or contact is None
        ):
            raise HttpProblem(422, "links-malformed", "The body may have purpose (its key) and channel, and nothing else.")
        await self._there(principal.firm, contact, purpose)
        unsubscribe = self._url(
            Link(use=Use.UNSUBSCRIBE, firm=principal.firm, contact=contact, purpose=purpose, channel=Channel(channel))
        )
        return json_response(
            {
                "preferences": self._url(Link(use=Use.PREFERENCES, firm=principal.firm, contact=contact)),
                "unsubscribe": unsubscribe,
                "headers": unsubscribe_headers(unsubscribe),
            }
        )

    async def _there(self, firm: FirmId, contact: UUID, purpose: str) -> None:
        async with self._service.chancery.readers.reading(firm, frozenset({"contacts:read"})) as r:
            if await r.one("SELECT id FROM views.contacts WHERE firm_id = %(firm)s AND id = %(contact)s", contact=contact) is None:
                raise HttpProblem(404, "not-found", "The firm has no such contact.")
            there = "SELECT id FROM views.purposes WHERE firm_id = %(firm)s AND key = %(purpose)s"
            if purpose and await r.one(there, purpose=purpose) is None:
                raise HttpProblem(404, "not-found", "The firm has no such purpose.")

    async def _send_request(self, request: Request) -> Response:
        """Record the request for consent and send the mail with its link; the token stands in that mail and nowhere else."""
        chancery, principal = self._service.chancery, await self._service.principal(request)
        principal.need("consent:write")
        parameters(request, ())
        contact = path_id(request)
        body = json_object(request, await read_body(request, MOST_BODY), MOST_BODY)
        lang = language(str(body.pop("language", "")))
        refuse_numbers(RequestConsent, body)
        command = RequestConsent.model_validate_json(orjson.dumps({**body, "id": str(contact)}), strict=True)
        if command.channel is not Channel.EMAIL or command.contact_point is None or not command.double_opt_in:
            raise HttpProblem(
                422,
                "not-by-mail",
                "A request that is sent by mail is for the channel email, names its contact_point, and is a double opt-in.",
            )
        address = command.contact_point.strip()
        if not ONE_ADDRESS.fullmatch(address):
            raise HttpProblem(422, "not-an-address", "The contact_point is one address and nothing else, such as ann@example.org.")
        sender = mailer(chancery.settings)  # refuses, before anything is recorded, where no mail server is set
        await chancery.feed.wait(
            NAMED, chancery.feed.head
        )  # what the letter says stands there; once it is recorded, the letter goes
        done = await chancery.executor.execute(
            command, firm=principal.firm, actor=principal.actor, permissions=principal.permissions, target=contact
        )
        link = Link(use=Use.CONFIRM, firm=principal.firm, contact=command.id, token=done.shown_once["token"])
        shown = await self._standing(request, link)
        if shown is None:
            raise HttpProblem(404, "not-found", "The firm has no such contact.")
        names, *_ = await self._asked(link, shown)
        try:
            await asyncio.to_thread(sender.send, address, *_letter(lang, shown.firm, names, self._url(link), command))
        except MailNotSent as e:
            log.warning("mail.not_sent", why=e.why)
            raise HttpProblem(
                502,
                "mail-not-sent",
                f"The mail server did not take the message ({e.why}). The request is recorded; send it again with `resend`: true.",
                headers={"Retry-After": "30"},
            ) from e
        return json_response({**{k: v for k, v in done.body.items() if k != "token"}, "sent": True, "position": done.position})


def _letter(lang: str, firm: str, names: list[str], url: str, command: RequestConsent) -> tuple[str, str]:
    words: Mapping[str, str] = WORDS[lang]
    until = day(datetime.now(UTC) + timedelta(hours=command.answer_within_hours))
    asked = [f"  - {' '.join(n.split())}" for n in names]
    lines = [
        words["mail_hello"], "", words["mail_ask"].format(firm=firm), *asked, "", words["mail_do"], "", url, "",
        words["mail_not"].format(date=until), "", firm,
    ]  # fmt: skip
    return words["mail_subject"].format(firm=firm), "\n".join(lines)
