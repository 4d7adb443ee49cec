"""Colours of objects: far enough apart for people who see fewer of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tracker.colours import OBJECT_COLOURS, css

LEAST = 18.0  # CIEDE2000; below 1 nobody sees a difference, supervision's own reach 1.1 to 5.5
# Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision
# Deficiency, 2009, table 1, severity 1.0; on linear RGB.
DEFICIENCIES = {
    "common": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
SRGB_TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
D65 = (0.95047, 1.0, 1.08883)
Array = NDArray[np.float64]


def linear(rgb: Array) -> Array:
    part = np.asarray(rgb, float) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab_of(linear_rgb: Array) -> Array:
    xyz = linear_rgb @ np.transpose(SRGB_TO_XYZ) / D65
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [
            116 * f[..., 1] - 16,
            500 * (f[..., 0] - f[..., 1]),
            200 * (f[..., 1] - f[..., 2]),
        ],
        axis=-1,
    )


def ciede2000(one: Array, other: Array) -> Array:
    """Difference of colours in CIELAB; Sharma, Wu, Dalal 2005."""
    l1, a1, b1 = np.moveaxis(np.asarray(one, float), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(other, float), -1, 0)
    mean_c = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    dh = np.where(c1 * c2 == 0, 0.0, (h2 - h1 + 180) % 360 - 180)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh) / 2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    apart = np.abs(h1 - h2) > 180
    mean_h = np.where(apart, (h1 + h2 + 360) / 2, (h1 + h2) / 2) % 360
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    theta = 30 * np.exp(-(((mean_h - 275) / 25) ** 2))
    rotation = -np.sin(np.radians(2 * theta)) * 2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7))
    lightness = (l2 - l1) / (1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2))
    chroma = (c2 - c1) / (1 + 0.045 * mean_c)
    hue = dh / (1 + 0.015 * mean_c * t)
    return np.sqrt(lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue)


@pytest.mark.parametrize(
    ("one", "other", "difference"),  # of the test data of Sharma, Wu, Dalal 2005
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ],
)
def test_the_difference_is_that_of_the_paper(one: Array, other: Array, difference: float) -> None:
    assert ciede2000(one, other) == pytest.approx(difference, abs=1e-4)


@pytest.mark.parametrize("vision", DEFICIENCIES)
def test_the_first_eight_differ_to_everybody(vision: str) -> None:
    seen = linear(np.array(OBJECT_COLOURS[:8])) @ np.transpose(DEFICIENCIES[vision])
    lab = lab_of(np.clip(seen, 0, 1))
    between = ciede2000(lab[:, None], lab[None])
    assert between[~np.eye(8, dtype=bool)].min() >= LEAST


def test_colours_are_those_of_the_page_and_of_drawn_videos() -> None:
    from tracker.effects.overlay import Overlay
    from tracker.types import ObjectResult, ObjectState

    mask_hw = np.ones((64, 64), np.bool_)
    for object_id in (1, 3, 9, 17):
        one = ObjectResult(object_id, None, ObjectState.VISIBLE, 1.0, 1.0, (0, 0, 64, 64), mask_hw)
        drawn = Overlay(64, 64).draw(np.zeros((64, 64, 3), np.uint8), [one])
        colour = np.array(OBJECT_COLOURS[(object_id - 1) % len(OBJECT_COLOURS)])
        assert np.abs(drawn[40, 40] - 0.45 * colour).max() <= 1
    assert css((208, 115, 255)) == "#d073ff"
