"""Ours: a `Session` with the default policy.

`--unbatched` takes objects one by one, `--without-graphs` launches each kernel by itself.
"""

import sys
from collections.abc import Iterable
from dataclasses import replace

from tools.bench.models import load
from tools.bench.peers.worker import About, Image, Mask, Masks, Wish, serve
from tracker.engine import Policy, Session
from tracker.models.optim.plan import CUDA_GRAPHS
from tracker.types import Prompt


class Ours:
    """A session that is given the frames."""

    def __init__(self, wish: Wish, policy: Policy, without: Iterable[str] = ()) -> None:
        self._model, origin = load(wish.model, str(wish.device), wish.dtype, without)
        self._policy = policy
        self._session = Session(self._model, policy)
        self.about = About(wish.model, origin, f"{self._model.input.size} px")

    def start(self, frames_nhwc: Image, masks_khw: Masks) -> None:
        """Prompt with the masks."""
        policy = replace(self._policy, max_objects=len(masks_khw))
        self._session = Session(self._model, policy)
        self._session.step(frames_nhwc[0])
        for number, mask_hw in enumerate(masks_khw, start=1):
            self._session.prompt(Prompt(number, mask_hw=mask_hw))

    def step(self, image_hwc: Image) -> list[Mask]:
        """Track, and take the masks as they come."""
        return [item.mask_hw for item in self._session.step(image_hwc).objects]


def _taken(flag: str) -> bool:
    """True if a flag is on the command line, from which it is taken."""
    given = flag in sys.argv
    if given:
        sys.argv.remove(flag)
    return given


if __name__ == "__main__":
    policy = Policy(batch_objects=1) if _taken("--unbatched") else Policy()
    without = (CUDA_GRAPHS,) if _taken("--without-graphs") else ()
    raise SystemExit(serve(lambda wish: Ours(wish, policy, without)))
