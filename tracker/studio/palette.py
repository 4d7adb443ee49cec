"""Colours of objects in the page: those of drawn videos, so that an object looks alike in both."""


def css_colours() -> list[str]:
    """The colours as CSS has them; an object has the one of its id modulo their number."""
    import supervision as sv  # takes seconds

    return [colour.as_hex() for colour in sv.ColorPalette.DEFAULT.colors]
