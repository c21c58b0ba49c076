"""The text of a file's bytes: UTF-8, or UTF-16 and UTF-32 where a byte order mark says so; XML may name any other encoding."""

import codecs
import re

from topology.formats.errors import FormatError

#: Longer ones first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: What ``<?`` is without a mark (XML 1.0, appendix F); UTF-16 without one is common, though XML asks for it.
_XML_STARTS = (
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
_DECLARED = re.compile(rb"""\s*<\?xml\s[^>]*?\bencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,39})["']""")
#: Codecs of Python that are no encodings of files.
_NOT_OF_FILES = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "utf-7")


def decode(data: bytes, source: str) -> str:
    """The text without its mark. Raises FormatError with the line of the first byte that is no text."""
    mark, encoding = _marked(data) or (b"", "utf-8")
    return _decoded(data[len(mark) :], encoding, source)


def decode_xml(data: bytes, source: str) -> str:
    """As `decode`, in the encoding that the XML declaration names where no mark says another."""
    if marked := _marked(data):
        return _decoded(data[len(marked[0]) :], marked[1], source)
    for start, encoding in _XML_STARTS:
        if data.startswith(start):
            return _decoded(data, encoding, source)
    declared = _DECLARED.match(data)
    return _decoded(data, _codec(declared[1].decode("ascii"), source) if declared else "utf-8", source)


def looks_like_xml(data: bytes) -> bool:
    """Whether the first letter is ``<``, whatever the encoding."""
    marked = _marked(data)
    start = data[len(marked[0]) if marked else 0 :][:400].replace(b"\0", b"")
    return start.lstrip().startswith(b"<")


def _marked(data: bytes) -> tuple[bytes, str] | None:
    return next(((mark, encoding) for mark, encoding in _MARKS if data.startswith(mark)), None)


def _codec(name: str, source: str) -> str:
    try:
        found = codecs.lookup(name).name
        "".encode(found)  # raises LookupError for a codec that is no encoding of text
    except LookupError:
        raise FormatError(f"encoding {name!r} is not known", source, 1) from None
    if found.replace("-", "_") in (other.replace("-", "_") for other in _NOT_OF_FILES):
        raise FormatError(f"encoding {name!r} is not an encoding for files", source, 1)
    if found.startswith(("utf-16", "utf-32")):
        raise FormatError(f"the text declares {name}, but its first line is ASCII", source, 1)
    return found


def _decoded(data: bytes, encoding: str, source: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count("\n".encode(encoding), 0, error.start) + 1
        raise FormatError(f"not {encoding.upper()} text ({error.reason})", source, line) from None
