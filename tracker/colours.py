"""Colours of objects on pictures and in the page, which people with any colour vision tell apart.

The first eight were searched for so that the least difference between two of them (CIEDE2000) is
large to common vision and to protanopia, deuteranopia and tritanopia as Machado, Oliveira and
Fernandes simulate them (2009); `tests/tracker/test_colours.py` computes it.
"""

Rgb = tuple[int, int, int]

_SAFE: tuple[Rgb, ...] = (
    (208, 115, 255),
    (255, 223, 64),
    (0, 0, 255),
    (217, 108, 0),
    (115, 255, 232),
    (178, 0, 0),
    (63, 140, 115),
    (140, 35, 105),
)
_WHITE_PART = 0.5


def _lighter(colour: Rgb) -> Rgb:
    red, green, blue = (round(part + _WHITE_PART * (255 - part)) for part in colour)
    return red, green, blue


OBJECT_COLOURS: tuple[Rgb, ...] = (*_SAFE, *map(_lighter, _SAFE))
"""The eight, and lighter ones; an object has that of its id, less one, modulo their number."""


def css(colour: Rgb) -> str:
    """A colour as CSS has it, such as "#d073ff"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
