"""What bytes are, from the bytes themselves; a file name only refines within what they allow.

The first 64 KiB decide: signatures (`filetype`), the entries of a ZIP container, and whether the rest reads as text. A name can
make `text/markdown` of text or a Word document of a ZIP whose parts don't show; it can't make a PDF of anything else.
"""

import codecs
import re

import filetype  # type: ignore[import-untyped]

HEAD = 65_536

UNKNOWN = "application/octet-stream"
_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."

_ZIPPED = {
    "docx": _OOXML + "wordprocessingml.document",
    "xlsx": _OOXML + "spreadsheetml.sheet",
    "pptx": _OOXML + "presentationml.presentation",
    "docm": "application/vnd.ms-word.document.macroenabled.12",
    "xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
    "pptm": "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    "odt": _ODF + "text",
    "ods": _ODF + "spreadsheet",
    "odp": _ODF + "presentation",
    "epub": "application/epub+zip",
}
_OOXML_PARTS = ((b"word/", "docx"), (b"xl/", "xlsx"), (b"ppt/", "pptx"))
_OLE = {
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
    "msg": "application/vnd.ms-outlook",
}
_TEXT = {
    "md": "text/markdown",
    "markdown": "text/markdown",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "json": "application/json",
    "xml": "application/xml",
    "html": "text/html",
    "htm": "text/html",
    "xhtml": "application/xhtml+xml",
    "svg": "image/svg+xml",
    "eml": "message/rfc822",
    "mbox": "application/mbox",
    "ics": "text/calendar",
    "vcf": "text/vcard",
    "css": "text/css",
    "js": "text/javascript",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML = re.compile(rb"(?i)<(!doctype\s+html|html|head|body|script|iframe)\b")
_MIMETYPE = re.compile(rb"mimetype(?:.{0,64}?)((?:application)/[a-z0-9.+-]{1,100})", re.DOTALL)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def media_type(head: bytes, file_name: str | None = None) -> str:
    """The media type of content that begins with `head` (its first 64 KiB, or all of it)."""
    extension = (file_name or "").rpartition(".")[2].lower()
    if not head:
        return "application/x-empty"
    if head.startswith(b"PK\x03\x04"):
        return _zip_container(head, extension)
    if head.startswith(_OLE_MAGIC):
        return _OLE.get(extension, "application/x-ole-storage")
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    if head.startswith(b"{\\rtf"):
        return "application/rtf"
    text = _decoded(head)
    if text is not None:
        return _text(text, extension)
    known = filetype.guess_mime(head[:8192])
    return known if isinstance(known, str) else UNKNOWN


def _zip_container(head: bytes, extension: str) -> str:
    if declared := _MIMETYPE.match(head, 30):  # the first entry of OpenDocument and EPUB, stored, says what it is
        found = declared[1].decode("ascii")
        # the next local header may follow without a gap: cut what is glued to the end
        return next((known for known in sorted(_ZIPPED.values(), key=len, reverse=True) if found.startswith(known)), found)
    if b"[Content_Types].xml" in head or b"_rels/.rels" in head:
        for part, kind in _OOXML_PARTS:
            if re.search(rb"PK\x03\x04.{26}" + re.escape(part), head, re.DOTALL):
                macro = kind[:3] + "m"
                return _ZIPPED[macro if extension == macro else kind]
        return _ZIPPED.get(extension, "application/zip")
    return _ZIPPED.get(extension, "application/zip") if b"META-INF/" in head else "application/zip"


def _decoded(head: bytes) -> str | None:
    """The text, when this is text in UTF-8, UTF-16 with a mark, or a single-byte code without control characters."""
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return codecs.getincrementaldecoder(encoding)("replace").decode(head[len(bom) :])
    if _CONTROLS.search(head):
        return None
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(head)  # a character cut at the end is no error
    except UnicodeDecodeError:
        high = sum(byte >= 0x80 for byte in head[:4096])
        return head.decode("latin-1") if high * 3 < len(head[:4096]) else None


def _text(text: str, extension: str) -> str:
    start = _without_comments(text[:4096]).encode(errors="replace")
    if _HTML.match(start):
        return "application/xhtml+xml" if extension == "xhtml" else "text/html"
    if start.startswith(b"<?xml") or start[:256].lower().startswith(b"<svg"):
        lower = start.lower()
        if b"<svg" in lower:
            return "image/svg+xml"
        return "application/xhtml+xml" if b"<html" in lower else "application/xml"
    return _TEXT.get(extension, "text/plain")


def _without_comments(text: str) -> str:
    """What follows white space and `<!-- comments -->` at the beginning."""
    text = text.lstrip()
    while text.startswith("<!--"):
        _, end, rest = text.partition("-->")
        if not end:
            return ""
        text = rest.lstrip()
    return text
