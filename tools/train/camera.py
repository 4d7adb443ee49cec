"""Camera effects on a scene: colours, blur, noise and JPEG artefacts."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.train.scene import Picture, line_kernel

NOISE_STEPS = 64  # of the noise table, for a standard deviation
LUMA_BGR = (0.114, 0.587, 0.299)


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """A change of colours: `curve_13` for each channel's values, then `mix_33` between channels."""

    curves: NDArray[np.uint8]
    mix_33: NDArray[np.float32]

    def apply(self, picture: Picture) -> Picture:
        """The picture [H, W, 3] in other colours."""
        curved = cv2.LUT(picture, self.curves)
        return np.asarray(cv2.transform(curved, self.mix_33), np.uint8)


def random_colours(random: np.random.Generator, strength: float = 1.0) -> Colours:
    """Another brightness, contrast, white balance and saturation."""
    gain = 1 + strength * random.uniform(-0.3, 0.3)
    balance = 1 + strength * random.uniform(-0.12, 0.12, 3)
    bias = strength * random.uniform(-25, 25)
    values = np.arange(256)[:, None] * gain * balance + bias
    curves = np.clip(values, 0, 255).astype(np.uint8)[None]
    saturation = 1 + strength * random.uniform(-0.5, 0.4)
    grey_33 = np.tile(np.array(LUMA_BGR), (3, 1))
    mix_33 = saturation * np.eye(3) + (1 - saturation) * grey_33
    return Colours(np.ascontiguousarray(curves), mix_33.astype(np.float32))


@dataclass(frozen=True, slots=True)
class Camera:
    """Faults of one camera.

    Attributes:
        soft_px: Standard deviation of its blur, 0 for none.
        smear_px: Length and direction of motion blur, as of a `Layer`.
        noise: Standard deviation of the noise in grey levels, 0 for none.
        jpeg_quality: 0 for no compression.
    """

    soft_px: float
    smear_px: tuple[int, float]
    noise: float
    jpeg_quality: int

    def take(self, picture: Picture, random: np.random.Generator) -> Picture:
        """The picture [H, W, 3] as this camera gives it."""
        if self.soft_px:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), self.soft_px), np.uint8)
        if self.smear_px[0] > 1:
            picture = np.asarray(cv2.filter2D(picture, -1, line_kernel(*self.smear_px)), np.uint8)
        if self.noise:
            picture = _noisy(picture, self.noise, random)
        if self.jpeg_quality:
            encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
            picture = np.asarray(cv2.imdecode(encoded[1], cv2.IMREAD_COLOR), np.uint8)
        return picture


def random_camera(random: np.random.Generator) -> Camera:
    """A camera with few faults, most often."""
    soft, smear, noise, jpeg = random.random(4) < (0.2, 0.12, 0.3, 0.3)
    return Camera(
        soft_px=float(random.uniform(0.3, 1.3)) if soft else 0.0,
        smear_px=(int(random.integers(3, 10)), float(random.uniform(0, 180))) if smear else (0, 0),
        noise=float(random.uniform(2, 12)) if noise else 0.0,
        jpeg_quality=int(random.integers(25, 80)) if jpeg else 0,
    )


def _noisy(picture: Picture, deviation: float, random: np.random.Generator) -> Picture:
    table = _noise_table()
    start = int(random.integers(table.size - picture.size))
    noise = table[start : start + picture.size].reshape(picture.shape)
    scaled = (noise * np.float32(deviation / NOISE_STEPS)).astype(np.int16)
    return np.asarray(cv2.add(picture, scaled, dtype=cv2.CV_8U), np.uint8)


@cache
def _noise_table() -> NDArray[np.int16]:
    """Normal noise, more of it than a picture has values."""
    values = np.random.default_rng(0).standard_normal(1 << 22, np.float32)
    return np.asarray(values * NOISE_STEPS, np.int16)
