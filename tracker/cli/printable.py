"""Text that others chose, for a terminal."""

import unicodedata

_JOINERS = "\u200c\u200d"  # without these some scripts and emoji fall apart


def printable(text: str) -> str:
    """`text` on one line, without what a terminal would take for a command or a direction."""
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    category = unicodedata.category(character)
    if category == "Zs":  # other spaces than the one of ASCII
        return " "
    # Half a surrogate pair stands for a byte of a file name; `prepare_output` escapes it.
    return character if category == "Cs" else "?"
