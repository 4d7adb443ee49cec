"""A peer that is quick, or breaks where it is told to: `tests.support.bench_peers [build|step]`."""

import sys

import numpy as np

from tools.bench.peers.worker import About, Image, Mask, Masks, Wish, serve


class Nothing:
    about = About("nothing", "no", "0 px", {"nothing": "1.0"})

    def __init__(self, breaks: str) -> None:
        self.breaks = breaks
        if breaks == "build":
            raise RuntimeError("no such\nnetwork")

    def start(self, frames_nhwc: Image, masks_khw: Masks) -> None:
        self.masks_khw = masks_khw

    def step(self, image_hwc: Image) -> list[Mask]:
        print("a library prints this")
        if self.breaks == "step":
            sys.exit("it fell over")
        if self.breaks == "masks":
            return [np.zeros((2, 2), np.bool_) for _ in self.masks_khw]
        return list(self.masks_khw)


def build(wish: Wish, breaks: str) -> Nothing:
    return Nothing(breaks)


if __name__ == "__main__":
    breaks = sys.argv.pop(1) if sys.argv[1] in ("build", "step", "masks") else ""
    raise SystemExit(serve(lambda wish: build(wish, breaks)))
