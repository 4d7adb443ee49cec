"""Phrases of a query, as people type them: `cat . red car`."""

from tracker.errors import UsageError

SEPARATOR = "."
MAX_PHRASES = 64
MAX_PHRASE_CHARS = 64


def split_phrases(text: str) -> tuple[str, ...]:
    """The phrases of a text, in lower case, without repetitions.

    Raises:
        UsageError: There is none, there are more than `MAX_PHRASES`, or one is longer than
            `MAX_PHRASE_CHARS`.
    """
    parts = (" ".join(part.split()).lower() for part in text.split(SEPARATOR))
    phrases = tuple(dict.fromkeys(part for part in parts if part))
    if not phrases:
        raise UsageError(f"no phrase in {text!r}", 'name what to find, as in "cat . red car"')
    if len(phrases) > MAX_PHRASES:
        raise UsageError(f"{len(phrases)} phrases", f"give at most {MAX_PHRASES}")
    for phrase in phrases:
        if len(phrase) > MAX_PHRASE_CHARS or not phrase.isprintable():
            raise UsageError(
                f"phrase {phrase[:MAX_PHRASE_CHARS]!r} is too long or not printable",
                f"use at most {MAX_PHRASE_CHARS} characters",
            )
    return phrases
