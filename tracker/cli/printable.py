"""Text that others chose, for a terminal."""


def printable(text: str) -> str:
    """`text` on one line, without what a terminal would take for a command."""
    return "".join(character if character.isprintable() else "?" for character in text)
