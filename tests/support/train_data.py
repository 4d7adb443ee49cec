"""Small made data for the trainer's tests: a folder of stills and videos, and its pack."""

from pathlib import Path

import cv2
import numpy as np

from tools.train.pack import write_pack

HEIGHT, WIDTH, FRAMES = 72, 128, 8
STILLS = ("stills/blobs", "stills/backgrounds")
HELD_OUT = "blue"


def write_data(root: Path) -> Path:
    """Stills of ellipses, grounds without masks, and two videos of a disk that moves."""
    random = np.random.default_rng(0)
    for source in STILLS:
        (root / source).mkdir(parents=True)
        for name in range(3):
            picture = random.integers(30, 120, (90, 120, 3), np.uint8)
            if source == STILLS[0]:
                mask = np.zeros((90, 120), np.uint8)
                cv2.ellipse(mask, (60, 45), (25 + 5 * name, 30), 20 * name, 0, 360, 255, -1)
                picture[mask > 0] = (40, 60, 230)
                cv2.imwrite(str(root / source / f"{name}.0.png"), mask)
            cv2.imwrite(str(root / source / f"{name}.jpg"), picture)
    for name, colour in (("red", (40, 40, 230)), (HELD_OUT, (230, 60, 40))):
        write_video(root / "videos", name, colour)
    return root


def write_video(root: Path, name: str, colour: tuple[int, int, int]) -> None:
    pictures, annotations = root / "JPEGImages" / name, root / "Annotations" / name
    pictures.mkdir(parents=True)
    annotations.mkdir(parents=True)
    for t in range(FRAMES):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.circle(mask, (40 + 6 * t, 36), 16, 255, -1)
        picture = np.full((HEIGHT, WIDTH, 3), 70, np.uint8)
        picture[mask > 0] = colour
        cv2.imwrite(str(pictures / f"{t:05d}.jpg"), picture)
        cv2.imwrite(str(annotations / f"{t:05d}.png"), mask)


def write_small_pack(root: Path) -> Path:
    """The pack of such a folder."""
    write_pack(write_data(root / "data"), root / "pack", ["videos"], STILLS)
    return root / "pack"
