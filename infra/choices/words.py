"""The sentences of pages and mail, by language, and which of them a person gets."""

import tomllib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

WORDS: dict[str, dict[str, str]] = tomllib.loads((Path(__file__).parent / "words.toml").read_text("utf-8"))
LANGUAGES = [(code, words["name"]) for code, words in WORDS.items()]


def language(*wishes: str | None) -> str:
    """The first language wished for that there is; each wish is a tag or an Accept-Language header. English when there is none."""
    for wish in wishes:
        for tag in _ranked(wish or ""):
            if tag in WORDS:
                return tag
    return "en"


def _ranked(header: str) -> Iterable[str]:
    found = []
    for place, item in enumerate(header[:1000].split(",")[:50]):
        tag, _, quality = item.partition(";")
        try:
            q = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            q = 0.0
        if q > 0:
            found.append((-q, place, tag.strip().lower().partition("-")[0]))
    return [tag for _, _, tag in sorted(found)]


def day(moment: datetime) -> str:
    """A date that every language reads alike."""
    return moment.date().isoformat()
