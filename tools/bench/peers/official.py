"""The official `SAM2VideoPredictor` of the sam2 package; `--vos` is its compiled variant."""

from tracker.process import prepare_process

prepare_process()  # it gains by it as well

import sys  # noqa: E402

from sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS  # noqa: E402

from tools.bench.models import find_weights, official_predictor  # noqa: E402
from tools.bench.peers.predictor import PredictorTracker  # noqa: E402
from tools.bench.peers.worker import About, Wish, serve  # noqa: E402


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
