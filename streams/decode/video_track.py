"""Choice of the one video stream of a container, and refusal of what it would show a part of."""

import io
import warnings

from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream
from PIL import Image, TiffImagePlugin

from streams.errors import SourceUnreadable
from streams.sources.base import Address
from streams.sources.webp import is_webp_animation

_HEIF_BRANDS = ("avif", "avis", "mif1", "msf1", "heic", "heix", "heim", "heis", "hevc", "hevx")
_EDITED = "mov,mp4,m4a,3gp,3g2,mj2"  # whose index leaves out what an edit list hides
_NEW_SUBFILE_TYPE = 254  # TIFF: its bits 0 and 2 mark a smaller copy and a mask
_COPY_OR_MASK = 0b101


def choose_video(container: InputContainer, address: Address) -> VideoStream:
    """Return the stream that holds the pictures.

    Raises:
        SourceUnreadable: There is none, it has no decoder, or it holds one tile of a picture.
    """
    if container.format.name == "tty":  # FFmpeg draws any .txt file as a picture
        raise SourceUnreadable(f"not a video but text: {address.shown}", "give a video")
    video = container.streams.best("video")
    if not isinstance(video, VideoStream) or video.disposition & Disposition.attached_pic:
        raise SourceUnreadable(f"no video in {address.shown}", "give a source with pictures")
    if container.format.name == "ico":
        video = max(_decodable(container), key=_area, default=video)
    elif _is_heif(container):
        video = _heif_colours(container, address) or video
    if video.codec_context is None:
        raise SourceUnreadable(
            f"no decoder for the video of {address.shown}", "convert it to H.264"
        )
    return video


def _decodable(container: InputContainer) -> list[VideoStream]:
    return [video for video in container.streams.video if video.codec_context is not None]


def _area(video: VideoStream) -> int:
    return video.codec_context.width * video.codec_context.height


def _is_heif(container: InputContainer) -> bool:
    named = container.metadata.get("compatible_brands", "")
    named += container.metadata.get("major_brand", "")
    return any(brand in named for brand in _HEIF_BRANDS)


def _heif_colours(container: InputContainer, address: Address) -> VideoStream | None:
    """Choose among the items and tracks of a HEIC or AVIF file.

    Each tile of a picture is a stream, and so are transparency, depth and thumbnails. FFmpeg
    marks the tiles as dependent and the picture that the file is about as default; a sequence
    comes before a still, and the transparency of a sequence has no colours.

    Raises:
        SourceUnreadable: The picture is made of tiles.
    """
    whole = [v for v in _decodable(container) if not v.disposition & Disposition.dependent]
    shown = [video for video in whole if video.disposition & Disposition.default]
    tiles = len(container.streams.video) - len(whole)
    if tiles and not shown:
        raise SourceUnreadable(
            f"{address.shown} is one picture in {tiles} tiles, which are not put together",
            "convert it: heif-convert PICTURE PICTURE.jpg",
        )
    return max(
        shown or whole,
        key=lambda video: (video.frames > 1, not _is_gray(video), _area(video), -video.index),
        default=None,
    )


def _is_gray(video: VideoStream) -> bool:
    pixel_format = video.codec_context.format
    return pixel_format is not None and len(pixel_format.components) == 1


def shown_frames(container: InputContainer, video: VideoStream) -> int | None:
    """Return how many frames the container claims to show; None where it claims none.

    The count in its header includes what an edit list hides and, in an AVI, the times at which
    nothing changes; the index tells them apart, where there is one of all frames: an AVI that is
    cut has none, and FFmpeg then lists the frames that it saw.
    """
    if not video.frames:
        return None
    entries, form = video.index_entries, container.format.name
    if len(entries) and (form == _EDITED or (form == "avi" and _reaches_end(video))):
        return sum(1 for entry in entries if entry.size and not entry.is_discard)
    return video.frames


def _reaches_end(video: VideoStream) -> bool:
    """True where the index of an AVI, whose clock counts frames, has the last of them."""
    last = video.index_entries[-1]
    return last.timestamp is not None and last.timestamp + 1 >= video.frames


def refuse_parts(container: InputContainer, packet: "Packet[Stream]", address: Address) -> None:
    """Refuse what FFmpeg shows a part of, or nothing: TIFFs of several pages, animated WebPs.

    Raises:
        SourceUnreadable: The packet is one of these.
    """
    format_name = container.format.name
    if format_name == "webp_pipe" and is_webp_animation(bytes(packet)):
        raise SourceUnreadable(
            f"{address.shown} is an animated WebP, which is read from a file only",
            "download it, and give the file",
        )
    pages = _tiff_pages(bytes(packet)) if format_name == "tiff_pipe" else 1
    if pages > 1:
        raise SourceUnreadable(
            f"{address.shown} is a TIFF of {pages} pages",
            "write each page as a picture of its own into a folder, and give the folder",
        )


def _tiff_pages(data: bytes) -> int:
    pages = 0
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(data), formats=["TIFF"]) as image,
        ):
            assert isinstance(image, TiffImagePlugin.TiffImageFile)
            for page in range(image.n_frames):
                image.seek(page)
                pages += not image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _COPY_OR_MASK
    except Exception:  # whatever Pillow cannot read, FFmpeg is to judge
        return pages
    return pages
