"""Files that a browser's form sends (multipart/form-data, RFC 7578), out of a body whose size was limited when it was read."""

import re

from infra.http.problems import HttpProblem

MOST_PARTS = 10
MOST_HEAD = 2_000
_BOUNDARY = re.compile(
    r"""multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;,"]{1,70}))\s*(?:;.*)?""", re.IGNORECASE
)
_NAME = re.compile(rb"""content-disposition:[ \t]*form-data;(?:[^\r\n]*;)?[ \t]*name="([^"\r\n]{1,100})\"""", re.IGNORECASE)


def parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """What stands in each field of the form, by its name; of two with one name the first."""
    found = _BOUNDARY.fullmatch(content_type.strip())
    if found is None:
        raise _malformed()
    mark = b"--" + (found[1] or found[2]).encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(b"\r\n" + mark, MOST_PARTS + 1)
    if len(pieces) > MOST_PARTS + 1 or not pieces[-1].startswith(b"--"):
        raise _malformed()
    out: dict[str, bytes] = {}
    for piece in pieces[1:-1]:
        head, blank, content = piece.partition(b"\r\n\r\n")
        name = _NAME.search(head) if blank and len(head) <= MOST_HEAD else None
        if name is None:
            raise _malformed()
        out.setdefault(name[1].decode("utf-8", "replace"), content)
    return out


def _malformed() -> HttpProblem:
    return HttpProblem(400, "form-malformed", "The body is not a form with files, as a browser sends it.")
