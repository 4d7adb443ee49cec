"""Colours of object ids in palette PNGs."""


def davis_palette() -> bytes:
    """The 256 RGB colours of PASCAL VOC and DAVIS, as 768 bytes.

    The bits of an id go round the channels red, green, blue, its lowest three bits to the
    highest bit of each, so that neighbouring ids differ most.
    """
    palette = bytearray()
    for identity in range(256):
        rgb = [0, 0, 0]
        for bit in range(8):
            rgb[bit % 3] |= (identity >> bit & 1) << (7 - bit // 3)
        palette += bytes(rgb)
    return bytes(palette)
