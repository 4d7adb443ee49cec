"""Text files that people hand over, in the encodings that editors and shells give them."""

import codecs

_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode_text(data: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark, or UTF-16 with one.

    Raises:
        ValueError: It is something else; the message says what, and what to do.
    """
    encoding = encoding_of(data)
    if encoding == "UTF-32":
        raise ValueError("UTF-32 text; save it as UTF-8")
    if encoding == "UTF-8" and b"\0" in data[:2]:
        raise ValueError("not text, or UTF-16 without its mark; save it as UTF-8")
    try:
        return data.decode("utf-16" if encoding == "UTF-16" else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"not {encoding} text (line {line}); save it as UTF-8") from error


def encoding_of(data: bytes) -> str:
    """Name the encoding that the byte order mark at the start gives; UTF-8 without one."""
    if data.startswith(_UTF_32):  # before UTF-16: its mark begins with the one of UTF-16
        return "UTF-32"
    return "UTF-16" if data.startswith(_UTF_16) else "UTF-8"
