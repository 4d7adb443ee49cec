"""One still picture: bytes of a file in, upright 8-bit RGB out.

OpenCV decodes: to JPEG it gives the same pixels as the readers that SAM 2 was trained with, which
FFmpeg's own decoder does not. Pillow decodes what OpenCV does not get right: AVIF, whose turns it
leaves out, JPEG 2000 in luma and chroma, and TIFF with alpha, which it blends with black.
"""

import io
import struct
import warnings
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, features

from streams.decode.memory import check_memory
from streams.info import MAX_PIXELS

_FIXED_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_OPTIONAL_SUFFIXES = {".jp2": "jpg_2000", ".avif": "avif"}  # with what Pillow is built with
#: Suffixes, in lower case, of the files that can be decoded.
SUFFIXES = _FIXED_SUFFIXES + tuple(
    suffix for suffix, feature in _OPTIONAL_SUFFIXES.items() if features.check(feature)
)

_JPEG_2000 = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_AVIF, _AVIF_SEQUENCE = b"avif", b"avis"
_FTYP_BYTES = 256  # 60 brands, ten times what is usual
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_BIG_TIFF = _TIFF[2:]
_NEW_SUBFILE_TYPE = 254
_REDUCED_OR_MASK = 0b101  # a preview or a mask of another page, not a picture of its own

#: Bytes of the largest file of a picture that is read; that of `MAX_PIXELS` uncompressed fits.
MAX_FILE_BYTES = 2**29

# OpenCV logs several lines for a damaged file, whose name it does not know.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class SeveralPictures(Exception):  # noqa: N818 - reads better than SeveralPicturesError
    """The file holds more than one picture: TIFF pages, or an animation."""


class TooLarge(Exception):  # noqa: N818
    """The picture has more pixels than are decoded."""


def decode_image(content: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8] | None:
    """Decode a picture, uint8 RGB [H, W, 3], turned upright; None where it is damaged or no image.

    16-bit samples are scaled to 8 bits, and alpha is left out.

    Raises:
        SeveralPictures: Giving one of them would leave out the others in silence.
        TooLarge: It claims more than `max_pixels`; none of it was decoded.
    """
    check_size(content, max_pixels)
    is_for_pillow = content.startswith(_JPEG_2000) or _avif_brand(content) is not None
    decode = _decode_with_pillow if is_for_pillow else _decode_with_opencv
    try:
        image_rgb = decode(content)
    except Exception:  # whatever a decoder stumbles over in a file from outside
        image_rgb = None
    if image_rgb is None:
        check_memory()  # OpenCV says of a shortage only that it decoded nothing
        return None
    _check_single(content)
    return image_rgb


def check_size(content: bytes, max_pixels: int) -> None:
    """Look at the size that a picture's header states; where Pillow cannot, the decoder judges.

    Raises:
        TooLarge: It is more than `max_pixels`.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise TooLarge(f"more than {max_pixels} pixels") from None
    except Exception:
        return
    if width * height > max_pixels:
        raise too_large(width, height, max_pixels)


def too_large(width: int, height: int, max_pixels: int) -> TooLarge:
    """Error that gives the size of a picture and what may be decoded."""
    return TooLarge(f"{width}x{height} pixels, at most {max_pixels} are decoded")


def _decode_with_opencv(content: bytes) -> NDArray[np.uint8] | None:
    image_bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image_bgr is None:
        return None
    if content.startswith(_TIFF) and _has_alpha(content):
        return _decode_with_pillow(content)
    return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _has_alpha(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content), formats=["TIFF"]) as image:
            return image.mode == "RGBA"
    except UnidentifiedImageError:  # OpenCV knows more kinds of TIFF
        return False


def _decode_with_pillow(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content), formats=["AVIF", "JPEG2000", "TIFF"]) as image:
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # which Pillow would clip
        gray_hw = (np.asarray(upright) >> 8).astype(np.uint8)
        return np.repeat(gray_hw[..., None], 3, axis=2)
    return np.array(upright.convert("RGB"))


def _check_single(content: bytes) -> None:
    if content.startswith(_TIFF):
        kinds = list(_subfile_types(content))
        pages = sum(not kind & _REDUCED_OR_MASK for kind in kinds)
        if pages > 1:
            raise SeveralPictures(f"{pages} pages")
    elif is_animation(content):
        raise SeveralPictures("an animation")


def is_animation(content: bytes) -> bool:
    """True where a file that begins with `content` is an animated WebP, PNG or AVIF."""
    if content[8:16] == b"WEBPVP8X":
        return len(content) > 20 and bool(content[20] & 0b10)
    if content.startswith(b"\x89PNG"):
        at = content.find(b"acTL", 0, content.find(b"IDAT"))
        return at > 0 and int.from_bytes(content[at + 4 : at + 8], "big") > 1
    return _avif_brand(content) == _AVIF_SEQUENCE


def _avif_brand(content: bytes) -> bytes | None:
    """True where a file is one AVIF picture or a sequence, by the first brand that says so.

    The brands of a HEIF file (ISO/IEC 14496-12, 4.3) may begin with a wider one, as `mif1`.
    """
    if content[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(content[:4], "big"), _FTYP_BYTES, len(content))
    brands = [content[8:12]] + [content[at : at + 4] for at in range(16, end, 4)]
    return next((brand for brand in brands if brand in (_AVIF, _AVIF_SEQUENCE)), None)


def _subfile_types(content: bytes) -> Iterator[int]:
    """The NewSubfileType of each directory of a TIFF file; it ends at one that is damaged."""
    endian = "<" if content.startswith(b"II") else ">"
    is_big = content.startswith(_BIG_TIFF)
    offset_form, count_form, entry_bytes = ("Q", "Q", 20) if is_big else ("I", "H", 12)
    at = 8 if is_big else 4
    seen: set[int] = set()
    try:
        while offset := struct.unpack_from(endian + offset_form, content, at)[0]:
            if offset in seen:
                return
            seen.add(offset)
            (entries,) = struct.unpack_from(endian + count_form, content, offset)
            first = offset + struct.calcsize(endian + count_form)
            at = first + entries * entry_bytes
            yield _new_subfile_type(content, endian, range(first, at, entry_bytes))
    except struct.error:
        return


def _new_subfile_type(content: bytes, endian: str, entries: range) -> int:
    for at in entries:
        tag, kind = struct.unpack_from(endian + "HH", content, at)
        if tag == _NEW_SUBFILE_TYPE:
            value_at = at + entries.step - (8 if entries.step == 20 else 4)
            form = endian + ("H" if kind == 3 else "I")
            return int(struct.unpack_from(form, content, value_at)[0])
        if tag > _NEW_SUBFILE_TYPE:  # they are in ascending order
            break
    return 0
