"""Scenes made from stills: a picture that moves, or cut-outs before another picture.

Some of what stands there, and of what it stands before, is drawn.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from tools.policies.cutouts import Cutout, mirrored_twin
from tools.train.camera import random_colours
from tools.train.motion import Bend, Floats, Path, Reach, away_and_back, random_bend, random_path
from tools.train.packed import Pack
from tools.train.scene import Layer, Picture, placement
from tools.train.stills import Shown, cut_out, random_objects, random_picture
from tools.train.synthetic_shapes import random_drawing, random_wall

WHOLE_PICTURE_SHARE = 0.45
WHOLE_PICTURE = Reach(zoom=0.25, stretch=0.12, turn=0.25, shear=0.12, shift=0.14)
BACKDROP = Reach(zoom=0.08, stretch=0.02, turn=0.08, shear=0.05, shift=0.06)
THING = Reach(zoom=0.25, stretch=0.15, turn=0.4, shear=0.15, shift=0.25)

MOST_REGIONS = 3  # objects of a whole picture
OBJECT_SIDES = (0.2, 0.8)  # longer side of an object on the canvas
OTHER_SIDES = (0.15, 0.6)
LEAVES_SHARE = 0.2
TWIN_SHARE = 0.3
BEND_SHARE = 0.6
GROUND_BEND, THING_BEND = 0.02, 0.04  # largest, in sides
SMEAR_SHARE = 0.15
DRAWN_SHARE = 0.3  # of what stands before a backdrop, and of backdrops

Scene = tuple[Layer, list[Layer]]


def random_scene(
    pack: Pack, source: str, frames: int, side: int, random: np.random.Generator
) -> Scene | None:
    """A ground and what is in front of it, from back to front; None where nothing came of it."""
    shown = random_objects(pack, source, MOST_REGIONS, random)
    if shown is None:
        return None
    if random.random() < WHOLE_PICTURE_SHARE:
        ground = _moving_picture(shown, frames, side, random)
        return ground, random_others(pack, frames, side, random)
    wall = random.random() < DRAWN_SHARE
    backdrop = random_wall(random) if wall else random_picture(pack, random)
    ground = _still_layer(backdrop, frames, BACKDROP, side, random)
    thing = random_drawing(random) if random.random() < DRAWN_SHARE else cut_out(shown)
    layers = [_thing(thing, frames, side, random, OBJECT_SIDES)]
    layers += random_others(pack, frames, side, random)
    if random.random() < TWIN_SHARE:
        twin = mirrored_twin(thing) if random.random() < 0.5 else thing
        layers.append(_thing(twin, frames, side, random, OBJECT_SIDES))
    return ground, [layers[i] for i in random.permutation(len(layers))]


def random_others(
    pack: Pack, frames: int, side: int, random: np.random.Generator, most: int = 2
) -> list[Layer]:
    """Up to `most` things that stand before something, and hide it at times."""
    sources = tuple(name for name, stills in pack.index.stills.items() if stills[0].masks)
    found: list[Layer] = []
    for _ in range(int(random.integers(0, most + 1)) if sources else 0):
        if random.random() < DRAWN_SHARE / 2:
            found.append(_thing(random_drawing(random), frames, side, random, OTHER_SIDES))
            continue
        other = random_objects(pack, sources[random.integers(len(sources))], 1, random)
        if other is not None:
            found.append(_thing(cut_out(other), frames, side, random, OTHER_SIDES))
    return found


def _moving_picture(shown: Shown, frames: int, side: int, random: np.random.Generator) -> Layer:
    """The whole picture as a ground, with its objects as the clip's."""
    ground = _still_layer(shown.picture, frames, WHOLE_PICTURE, side, random)
    masks = [mask_hw.astype(np.uint8) * 255 for mask_hw in shown.masks]
    return replace(ground, regions=[[mask] * frames for mask in masks])


def _still_layer(
    picture: Picture,
    frames: int,
    reach: Reach,
    side: int,
    random: np.random.Generator,
) -> Layer:
    """A picture that covers the canvas, squashed to a square now and then."""
    height, width = picture.shape[:2]
    path = random_path(random, frames, reach)
    scale = side / min(height, width) * random.uniform(1.0, 1.3)
    if random.random() < 0.5:  # as the predictor squashes its frames
        squash = np.diag([side / width / scale, side / height / scale]) * random.uniform(1.0, 1.2)
        path = Path(path.matrices_t22 @ squash, path.shifts_t2)
    return Layer(
        pictures=[random_colours(random).apply(picture)] * frames,
        inverse_t23=placement(path, picture.shape, (0.5, 0.5), scale, side),
        bend=_bend_at_times(random, side, GROUND_BEND),
    )


def _thing(
    cutout: Cutout,
    frames: int,
    side: int,
    random: np.random.Generator,
    sides: tuple[float, float],
) -> Layer:
    """A cut-out somewhere on the canvas."""
    return moving_thing([cutout] * frames, side, random, sides)


def moving_thing(
    cutouts: Sequence[Cutout],
    side: int,
    random: np.random.Generator,
    sides: tuple[float, float] = OBJECT_SIDES,
) -> Layer:
    """A thing somewhere on the canvas that moves.

    Args:
        cutouts: What it looks like on each frame, all of one size.
        side: Of the canvas.
        random: Chooses.
        sides: Shortest and longest of its longer side, in sides of the canvas.
    """
    frames, size_hw = len(cutouts), cutouts[0].mask_hw.shape
    path = random_path(random, frames, THING)
    if random.random() < LEAVES_SHARE:
        shifts: Floats = path.shifts_t2 + away_and_back(random, frames)
        path = Path(path.matrices_t22, shifts)
    longest = np.exp(random.uniform(*np.log(sides)))
    scale = longest * side / max(size_hw)
    middle_xy = tuple(random.uniform(0.2, 0.8, 2))
    smear = (int(random.integers(3, 12)), float(random.uniform(0, 180)))
    colours = random_colours(random)
    pictures: list[Picture] = []
    masks: list[Picture] = []
    for _, repeated in groupby(cutouts, key=id):
        cutout, *others = repeated
        pictures += [colours.apply(cutout.image_hwc)] * (1 + len(others))
        masks += [cutout.mask_hw.astype(np.uint8) * 255] * (1 + len(others))
    return Layer(
        pictures=pictures,
        inverse_t23=placement(path, size_hw, middle_xy, scale, side),
        masks=masks,
        bend=_bend_at_times(random, side, THING_BEND),
        smear_px=smear if random.random() < SMEAR_SHARE else (0, 0.0),
    )


def _bend_at_times(random: np.random.Generator, side: int, most: float) -> Bend | None:
    if random.random() >= BEND_SHARE:
        return None
    return random_bend(random, side, random.uniform(0, most))
