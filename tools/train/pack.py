"""Packs a data folder for training: `python -m tools.train.pack DATA OUT`."""

import argparse
import hashlib
import sys
from collections.abc import Sequence as Arguments
from pathlib import Path

from streams.errors import StreamError
from streams.sources.images import find_images
from tools.evaluate.dataset import Sequence, find_sequences
from tools.train.pack_format import (
    DEVELOPMENT_SET,
    INDEX_NAME,
    MAX_PART_BYTES,
    Blob,
    PackIndex,
    Part,
    Still,
    VideoFrame,
    part_path,
)
from tracker.errors import OutputError, TrackdError, UsageError

VIDEOS = ("davis-train",)
STILLS = tuple(
    f"stills/{name}"
    for name in ("bsds500", "ccp", "coco128", "weizmann", "human", "carparts", "backgrounds")
)


def main(argv: Arguments[str] | None = None) -> int:
    """Run the command; return 0, or 1 for a failure, 2 for wrong usage."""
    options = _parser().parse_args(argv)
    try:
        index = write_pack(options.data, options.out, options.videos, options.stills)
    except (TrackdError, StreamError) as err:
        print(f"pack: {err}", file=sys.stderr)
        return err.exit_code
    except OSError as err:
        print(f"pack: {err.filename or options.out}: {err.strerror}", file=sys.stderr)
        return OutputError.exit_code
    megabytes = sum(part.bytes for part in index.parts) / 1e6
    stills = sum(len(source) for source in index.stills.values())
    videos = sum(len(source) for source in index.videos.values())
    print(f"{stills} stills and {videos} videos: {len(index.parts)} parts, {megabytes:.0f} MB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.pack",
        description="Pack videos and stills with masks into a few files for the trainer.",
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the sources")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument(
        "--videos", nargs="*", default=list(VIDEOS), metavar="SOURCE", help="in DAVIS layout"
    )
    parser.add_argument(
        "--stills", nargs="*", default=list(STILLS), metavar="SOURCE", help="NAME.jpg, NAME.K.png"
    )
    return parser


def write_pack(
    data: Path, out: Path, videos: Arguments[str] = VIDEOS, stills: Arguments[str] = STILLS
) -> PackIndex:
    """Copy the sources below `data` into parts of at most `MAX_PART_BYTES` bytes each.

    Raises:
        UsageError: The development set is among the sources.
        TrackdError: A source is missing, or holds nothing of its kind.
        OSError: A file cannot be read or written.
    """
    if any(Path(source).name == DEVELOPMENT_SET for source in (*videos, *stills)):
        raise UsageError(f"{DEVELOPMENT_SET} is never trained on", "leave it out")
    out.mkdir(parents=True, exist_ok=True)
    (out / INDEX_NAME).unlink(missing_ok=True)  # until it is written again there is no pack
    writer = _PartWriter(out)
    packed_stills = {source: _stills(data / source, writer) for source in stills}
    packed_videos = {
        source: {video.name: _frames(video, writer) for video in find_sequences(data / source)}
        for source in videos
    }
    index = PackIndex(parts=writer.finish(), stills=packed_stills, videos=packed_videos)
    (out / INDEX_NAME).write_text(index.model_dump_json())
    return index


def _stills(folder: Path, writer: "_PartWriter") -> tuple[Still, ...]:
    photos = sorted(folder.glob("*.jpg"))
    if not photos:
        raise TrackdError(f"no stills in {folder}", "expected NAME.jpg and NAME.0.png")
    return tuple(
        Still(
            name=photo.stem,
            image=writer.add(photo),
            masks=tuple(writer.add(mask) for mask in sorted(folder.glob(f"{photo.stem}.*.png"))),
        )
        for photo in photos
    )


def _frames(video: Sequence, writer: "_PartWriter") -> tuple[VideoFrame, ...]:
    images = find_images(video.frames_dir) or ()
    return tuple(
        VideoFrame(image=writer.add(image), mask=writer.add(mask))
        for image, mask in zip(images, video.annotations, strict=True)
    )


class _PartWriter:
    """Fills one part after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[Part] = []
        self._content = bytearray()

    def add(self, path: Path) -> Blob:
        """Append a file to the parts."""
        content = path.read_bytes()
        if self._content and len(self._content) + len(content) > MAX_PART_BYTES:
            self._flush()
        blob = Blob(part=len(self._parts), offset=len(self._content), length=len(content))
        self._content += content
        return blob

    def finish(self) -> tuple[Part, ...]:
        """Write what is left, and return all parts."""
        if self._content:
            self._flush()
        return tuple(self._parts)

    def _flush(self) -> None:
        path = part_path(self._folder, len(self._parts))
        path.write_bytes(self._content)
        digest = hashlib.sha256(self._content).hexdigest()
        self._parts.append(Part(file=path.name, bytes=len(self._content), sha256=digest))
        self._content = bytearray()


if __name__ == "__main__":
    raise SystemExit(main())
