"""Cost of decoding: ms a frame of `streams`, and of OpenCV's `VideoCapture`, in turns.

Both give pictures of three bytes a pixel in main memory, ours RGB with its time stamps, OpenCV's
BGR. Both begin the clip again at its end; opening it is not timed.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from streams.sources.registry import open_source
from tools.bench import options as common
from tools.bench.conditions import without_model
from tools.bench.footage import Size, find_clip, write_scaled
from tools.bench.record import Contender, Footage, Run, Series
from tools.bench.turns import take_turns

HELP = "ms to decode a frame, ours and OpenCV's in turns"
QUICK = {"rounds": 2, "frames": 3, "warm_up": 2, "sizes": (Size(320, 180),)}
THEIRS = "cv2.VideoCapture"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_clip(parser, scaled=False)
    parser.add_argument(
        "--sizes", type=common.sizes, default=(Size(854, 480), Size(1280, 720)), metavar="WxH,WxH"
    )
    common.add_rounds(parser, rounds=5, frames=40, warm_up=10)


def measure(options: argparse.Namespace) -> Run:
    """Decode.

    Raises:
        UsageError: There is no such clip.
        StreamError: It cannot be decoded.
    """
    clip = find_clip(options.clip)
    series = []
    with tempfile.TemporaryDirectory() as folder:
        for wanted in options.sizes:
            video = Path(folder, "clip.mp4")
            size = write_scaled(clip, video, wanted)
            work = {"ours": _ours(video), THEIRS: _opencv(video)}
            times = take_turns(
                work, rounds=options.rounds, each=options.frames, warm_up=options.warm_up
            )
            case: dict[str, int | str] = {"size": f"{size.width}x{size.height}"}
            series += [Series(name=n, case=case, unit="ms", rounds=r) for n, r in times.items()]
    return without_model().run(
        suite="decode",
        setting="a file, H.264",
        footage=Footage(clip=clip.name, width=size.width, height=size.height, decoding_timed=True),
        warm_up=options.warm_up,
        contenders=(
            Contender(name="ours", how="`streams.open_source`: PyAV, RGB, time stamps"),
            Contender(name=THEIRS, how="OpenCV's own FFmpeg, BGR"),
        ),
        series=tuple(series),
    )


def _ours(video: Path) -> Callable[[], object]:
    def frames() -> Iterator[object]:
        while True:
            with open_source(str(video)) as source:
                yield from source

    endless = frames()
    return lambda: next(endless)


def _opencv(video: Path) -> Callable[[], object]:
    capture = cv2.VideoCapture(str(video))

    def read() -> object:
        there, image_hwc = capture.read()
        if not there:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            _, image_hwc = capture.read()
        return image_hwc

    return read
