"""The official `SAM2VideoPredictor` of the sam2 package; `--vos` is its compiled variant."""

import sys

from sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS

from tools.bench.models import find_weights, official_predictor
from tools.bench.peers.predictor import PredictorTracker
from tools.bench.peers.worker import About, Wish, serve


def build(wish: Wish, cls: type[SAM2VideoPredictor]) -> PredictorTracker:
    """The predictor with the weights of ours."""
    predictor = official_predictor(wish.model, cls, wish.device)
    about = About(wish.model, find_weights(wish.model).origin, f"{predictor.image_size} px")
    return PredictorTracker(predictor, wish, about)


if __name__ == "__main__":
    compiled = "--vos" in sys.argv
    if compiled:
        sys.argv.remove("--vos")
    chosen = SAM2VideoPredictorVOS if compiled else SAM2VideoPredictor
    raise SystemExit(serve(lambda wish: build(wish, chosen)))
