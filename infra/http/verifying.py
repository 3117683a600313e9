"""The page on which anybody has a record or a certificate checked, in plain words: `/p/verify`, where the code on paper leads.

It takes the file as it was given (the PDF, the proof, the certificate), keeps nothing, and works without JavaScript. What a proof proves
stands on the page: whoever altered the visible side of a PDF has not altered that.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from infra.choices.words import LANGUAGES, WORDS, language
from infra.http import problems
from infra.http.choices import HEADERS, STYLE, templates
from infra.http.commands import read_body
from infra.http.forms import parts
from infra.http.problems import HttpProblem
from infra.http.proofs import DOCUMENT_FORMAT, MOST_BODY, Proofs, parsed
from infra.http.routing import Endpoint
from infra.http.service import Service
from infra.proofs.errors import NotProved
from infra.proofs.paper import attached
from verifier import chancery_verify

MOST_FORM = 10_000_000
FACTS = ("why", "log", "size", "contact", "statement", "sha256")
ERASURE = "chancery.erasure/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the page says of a file that was sent."""

    verified: bool
    firm: str | None = None
    plain: str = ""
    sentences: list[str] = field(default_factory=list)
    chain: list[dict[str, Any]] = field(default_factory=list)
    sentence_last: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)


class NoProof(Exception):
    """The file that was sent holds nothing that can be verified."""


class Verifying:
    """The routes of the page."""

    def __init__(self, service: Service, proofs: Proofs) -> None:
        self._service = service
        self._proofs = proofs
        self._templates = templates()

    def routes(self) -> list[tuple[str, str, str, Endpoint]]:
        return [("GET", "/p/verify", "verify.look", self._look), ("POST", "/p/verify", "verify.check", self._in_words)]

    async def _look(self, request: Request) -> Response:
        return self._page(request, None)

    async def _in_words(self, request: Request) -> Response:
        """The answer to a form; every problem is a page too."""
        words = self._words(request)
        try:
            return self._page(request, await self._check(request))
        except NoProof:
            return self._page(request, Found(verified=False, plain=words["verify_none"]), 400)
        except Exception as e:
            problem = problems.of(e, request.state.request_id)
            plain = words["verify_large"] if problem.status_code == 413 else words["verify_none"]
            if problem.status_code not in {400, 413, 415}:
                plain = words["trouble_title"]
            told = self._page(request, Found(verified=False, plain=plain), problem.status_code)
            if "retry-after" in problem.headers:
                told.headers["Retry-After"] = problem.headers["retry-after"]
            return told

    async def _check(self, request: Request) -> Found:
        self._service.take_of_stranger(request)
        body = await read_body(request, MOST_FORM)
        sent = await asyncio.to_thread(parts, request.headers.get("content-type", ""), body)
        document = sent.get("document") or None
        try:
            asked = await asyncio.to_thread(_asked, sent.get("file", b""))
            if document is not None and asked.get("format") == DOCUMENT_FORMAT:
                asked = {"document": asked, "sha256": await asyncio.to_thread(_sha256, document)}
            found = await self._proofs.judged(asked)
        except (chancery_verify.NotProved, NotProved) as e:
            found = {"verified": False, "why": str(e)}
        except HttpProblem as e:
            if e.status == 400:
                raise NoProof from e
            raise
        said = self._said(self._words(request), found, compared=document is not None)
        return (
            replace(said, firm=await self._proofs.firm_of_log(str(found.get("log") or found["statement"]["log"])))
            if said.verified
            else said
        )

    def _said(self, words: dict[str, str], found: dict[str, Any], *, compared: bool) -> Found:
        facts = [(k, v if isinstance(v, str) else orjson.dumps(v).decode()) for k in FACTS if (v := found.get(k)) is not None]
        if not found["verified"]:
            return Found(verified=False, plain=words["verify_no_plain"], facts=facts)
        if found["what"] == "consent":
            whole = found["complete_as_of"] is not None and not found["entries_after_seal"]
            return Found(
                verified=True,
                sentences=[words["verify_consent"]],
                chain=[_in_words(words, act) for act in found["chain"]],
                sentence_last=words["verify_complete" if whole else "verify_incomplete"],
                facts=facts,
            )
        statement = found["statement"]
        if found["what"] == "document":
            sentences = [words["verify_document_is"], f"{statement['recorded_at']} · {statement['sha256']}"]
            return Found(
                verified=True,
                sentences=sentences,
                sentence_last=words["verify_same" if compared else "verify_compare"],
                facts=facts,
            )
        said = (
            [words["verify_erasure"], str(statement.get("completed_at", ""))]
            if found["what"] == ERASURE
            else [words["verify_other"]]
        )
        return Found(verified=True, sentences=[s for s in said if s], facts=facts)

    def _page(self, request: Request, found: Found | None, status: int = 200) -> Response:
        lang = self._language(request)
        text = self._templates.get_template("verify.html").render(
            lang=lang, words=WORDS[lang], languages=LANGUAGES, style=STYLE, title=WORDS[lang]["verify_title"], firm=None, said=[],
            found=found, mb=MOST_FORM // 1_000_000,
        )  # fmt: skip
        return HTMLResponse(text, status_code=status, headers={**HEADERS, "Content-Language": lang})

    @staticmethod
    def _language(request: Request) -> str:
        return language(request.query_params.get("lang"), request.headers.get("accept-language"))

    def _words(self, request: Request) -> dict[str, str]:
        return WORDS[self._language(request)]


def _asked(sent: bytes) -> dict[str, Any]:
    """What `POST /v1/verify` would be sent of this file."""
    raw = attached(sent, MOST_BODY) if sent.startswith(b"%PDF") else sent[: MOST_BODY + 1]
    if not raw or len(raw) > MOST_BODY:
        raise NoProof
    try:
        text = raw.decode("utf-8-sig")
        if text.startswith("chancery."):
            return {"certificate": text.replace("\r\n", "\n")}
        found: dict[str, Any] = parsed(text.encode())
    except (UnicodeDecodeError, orjson.JSONDecodeError) as e:
        raise NoProof from e
    return found


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _in_words(words: dict[str, str], act: dict[str, Any]) -> dict[str, Any]:
    kind = act["type"].partition(".")[2].partition(".")[0]
    return {
        "at": _moment(act["at"]),
        "recorded": words["verify_recorded"].format(at=_moment(act["recorded_at"])) if "recorded_at" in act else "",
        "did": words.get(f"did_{kind}", kind),
        "purposes": ", ".join(act["purposes"]),
        "channel": words.get(act["channel"] or "", act["channel"] or ""),
        "notice": _notice(words, act["notice"]),
        "disclosed": sorted((words.get(f"shown_{k}", k.replace("_", " ")), str(v)) for k, v in act["disclosed"].items()),
        "place": words["verify_at"].format(place=act["place"]),
    }


def _moment(text: str) -> str:
    return re.sub(r"(\.[0-9]+)?Z$", " UTC", text.replace("T", " "))


def _notice(words: dict[str, str], found: Any) -> str:
    """What the chain says of a notice, so that it can be compared with the text that the person has: not its title, which nothing binds."""
    if not isinstance(found, dict):
        return ""
    return words["verify_notice"].format(**{k: found.get(k) for k in ("id", "version", "language", "sha256")})
