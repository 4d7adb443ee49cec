"""Training clips: each follows from the seed and its own number alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.train import real, synthetic_clips
from tools.train.camera import random_camera, random_colours
from tools.train.config import Data
from tools.train.pack_format import VideoFrame
from tools.train.packed import Pack
from tools.train.scene import draw
from tracker.errors import TrackdError, UsageError

LEAST_AREA = 0.001  # of the first frame: a prompt must have something to show
ATTEMPTS = 50
CLIP_STREAM, PROMPT_STREAM = 0, 1  # of the seed


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """T frames of side S: RGB uint8 [T, S, S, 3], and o objects on each, bool [o, T, S, S].

    The objects are on the first frame; on the others they may be hidden or gone. Several of them
    on one picture teach the network to heed what it is shown; and the picture, which is most of
    the work, is encoded once for all.
    """

    images_tssc: NDArray[np.uint8]
    masks_otss: NDArray[np.bool_]


class ClipMaker:
    """Makes clips of one length, size and number of objects from the sources of a pack."""

    def __init__(
        self, pack: Pack, data: Data, *, seed: int, frames: int, side: int, objects: int = 1
    ) -> None:
        """Choose the sources.

        Raises:
            UsageError: The pack lacks a source, or a video that is to be held out.
        """
        self._pack, self._seed, self._frames, self._side = pack, seed, frames, side
        self._objects = objects
        self._videos = training_videos(pack, data)
        unknown = [name for name in data.sources if name not in pack.sources]
        if unknown:
            raise UsageError(
                f"the pack has no source {unknown[0]!r}", f"it has {', '.join(pack.sources)}"
            )
        self._sources = tuple(data.sources)
        weights = np.array(list(data.sources.values()))
        self._share = weights / weights.sum()

    def clip(self, number: int) -> Clip:
        """The clip of a number.

        Raises:
            TrackdError: The sources show no objects.
        """
        for attempt in range(ATTEMPTS):
            clip = self._attempt(np.random.default_rng([self._seed, CLIP_STREAM, number, attempt]))
            if clip is not None:
                return clip
        raise TrackdError(f"clip {number}: no object in {ATTEMPTS} attempts", "see data.sources")

    def _attempt(self, random: np.random.Generator) -> Clip | None:
        source = self._sources[random.choice(len(self._sources), p=self._share)]
        frames, side = self._frames, self._side
        scene: synthetic_clips.Scene | None
        if source in self._videos:
            scene = real.random_scene(self._pack, self._videos[source], frames, side, random)
        else:
            scene = synthetic_clips.random_scene(self._pack, source, frames, side, random)
        if scene is None:
            return None
        images, masks = draw(*scene, side)
        colours, camera = random_colours(random), random_camera(random)
        images = np.stack([camera.take(colours.apply(image), random) for image in images])
        across = slice(None, None, -1 if random.random() < 0.5 else 1)
        masks_otss = self._chosen(masks[..., across] > 127, random)
        if masks_otss is None:
            return None
        return Clip(np.ascontiguousarray(images[:, :, across, ::-1]), masks_otss)

    def _chosen(
        self, masks: NDArray[np.bool_], random: np.random.Generator
    ) -> NDArray[np.bool_] | None:
        """As many objects as are asked for, all seen at first; some twice where there are fewer."""
        seen = np.flatnonzero(masks[:, 0].mean(axis=(1, 2)) >= LEAST_AREA)
        if not seen.size:
            return None
        return masks[np.resize(random.permutation(seen), self._objects)]


def training_videos(pack: Pack, data: Data) -> dict[str, tuple[tuple[VideoFrame, ...], ...]]:
    """The videos of each source, less those held out.

    Raises:
        UsageError: A held-out video is not in the pack, or none is left of a source.
    """
    known = {name for videos in pack.index.videos.values() for name in videos}
    missing = [name for name in data.held_out if name not in known]
    if missing:
        raise UsageError(f"the pack has no video {missing[0]!r} to hold out", "see data.held_out")
    kept = {
        source: tuple(frames for name, frames in videos.items() if name not in data.held_out)
        for source, videos in pack.index.videos.items()
    }
    for source in data.sources:
        if source in kept and not kept[source]:
            raise UsageError(f"all videos of {source} are held out", "see data.held_out")
    return kept
