"""A pull of XML elements out of a file of any size, without entities, without depth, without surprise.

expat is fed piece by piece with text that was decoded here. Entity declarations are refused when they are declared, nesting beyond
a limit and tokens beyond a limit stop the file, and characters XML does not know are replaced and noted.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from xml.parsers import expat

from infra.imports.rows import FileDefect
from infra.imports.source import Source

_DECLARED = re.compile(r"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def declared_encoding(source: Source) -> None:
    """Follow the XML declaration where the file has no byte order mark."""
    m = _DECLARED.match(source.head[:400].decode("latin-1"))
    if m is None or source.encoding not in {"utf-8", "cp1252"}:
        return
    try:
        name = codecs.lookup(m[1]).name
        text_codec = codecs.getincrementaldecoder(name) is not None
        "".encode(name)
    except (LookupError, TypeError):
        text_codec = False
    if not text_codec:
        raise FileDefect(f"The encoding {m[1][:40]!r} is unknown", "the XML declaration names it", "Save the file as UTF-8", line=1)
    if name not in {"utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii"}:
        source.encoding = name


def stream(
    source: Source,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None] | None = None,
    *,
    parser_out: "list[expat.XMLParserType] | None" = None,
) -> Iterator[None]:
    """Feed `source` to the callbacks, yielding after each piece. Raises FileDefect with the line for anything that is not XML."""
    declared_encoding(source)
    limits = source.limits
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    depth = 0

    def line() -> int:
        return int(parser.CurrentLineNumber)

    def on_start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > limits.depth:
            raise FileDefect(
                "The XML is nested too deeply",
                f"more than {limits.depth} elements stand inside each other",
                "Check where the file comes from",
                line=line(),
            )
        start(tag, attributes)

    def on_end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        end(tag)

    def on_entity(*_: object) -> int:
        raise FileDefect(
            "The XML declares entities",
            "they can expand without bound and reach other files",
            "Save the file without a document type",
            line=line(),
        )

    parser.StartElementHandler = on_start
    parser.EndElementHandler = on_end
    parser.EntityDeclHandler = on_entity
    parser.ExternalEntityRefHandler = on_entity
    parser.SkippedEntityHandler = on_entity
    if text is not None:
        parser.CharacterDataHandler = text
    if parser_out is not None:
        parser_out.append(parser)

    fed = 0
    try:
        for piece in source.text():
            if _FORBIDDEN.search(piece):
                source.note("Control characters that XML does not allow were replaced.")
                piece = _FORBIDDEN.sub("\ufffd", piece)
            data = piece.encode("utf-8", "replace")
            parser.Parse(data, False)
            fed += len(data)
            if fed - max(parser.CurrentByteIndex, 0) > limits.token:
                raise FileDefect(
                    "One piece of the XML is too long",
                    f"a tag or text has more than {limits.token:,} bytes",
                    "Check where the file comes from",
                    line=line(),
                )
            yield
        parser.Parse(b"", True)
    except expat.ExpatError as e:
        raise FileDefect(
            "The file is not well-formed XML",
            f"{expat.ErrorString(e.code)} at column {e.offset + 1}",
            "Export it again, or repair that line",
            line=e.lineno,
        ) from e
    yield
