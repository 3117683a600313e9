"""File names as they may be kept and handed out again: a name and no path, whatever a browser, an archive or a crook sent."""

import re
import unicodedata

from domain.kernel import Invalid

LONGEST = 255  # bytes of UTF-8, as file systems have it

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|clock\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?")
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}  # Persian, Indic scripts and emoji are spelt with them


class NoFileName(Invalid):
    """The file name holds nothing that can be a name. Give the file a name such as `engagement-letter.pdf`."""


def clean_file_name(raw: str) -> str:
    """The last part of a path, in Unicode NFC, without control and direction marks, reserved names and what Windows refuses.

    Raises NoFileName when nothing is left. Cleaning a clean name changes nothing.
    """
    name = re.split(r"[/\\]", raw)[-1]
    name = unicodedata.normalize("NFC", name)
    name = "".join(c for c in name if c in _JOINERS or unicodedata.category(c) not in _HIDDEN_CATEGORIES)
    name = _strip(_FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)))
    if not name.strip("._-\u200c\u200d "):
        raise NoFileName
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    return _shorten(name)


def _strip(name: str) -> str:
    """Windows drops dots and spaces at the end, and nobody sees spaces at the beginning."""
    return name.strip().rstrip(". ").strip()


def _shorten(name: str) -> str:
    """At most 255 bytes, keeping the extension and whole characters."""
    if len(name.encode()) <= LONGEST:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem or len(extension.encode()) > 32:
        stem, dot, extension = name, "", ""
    room = LONGEST - len(f"{dot}{extension}".encode())
    stem = _strip(stem.encode()[:room].decode(errors="ignore")) or "_"
    return f"{stem}{dot}{extension}"
