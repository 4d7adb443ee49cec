"""EdgeTAM, from the wheel `edgetam-dimos`: RepViT-M1, memories resampled by a perceiver.

No checkpoint is needed for its speed, so its weights are random; its configuration is the wheel's.
"""

from importlib.metadata import version
from importlib.resources import files

import timm
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tools.bench.peers.predictor import PredictorTracker
from tools.bench.peers.worker import About, Wish, random_weights, serve

# What its builder adds to the configuration.
_ADDED = {
    "_target_": "sam2.sam2_video_predictor.SAM2VideoPredictor",
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}


def build(wish: Wish) -> PredictorTracker:
    """The predictor, without fetching weights of its trunk."""
    from sam2.modeling.backbones import timm as trunk

    trunk.create_model = lambda name, pretrained, **rest: timm.create_model(name, **rest)
    config = OmegaConf.load(str(files("sam2") / "configs" / "edgetam.yaml")).model
    predictor = random_weights(instantiate(OmegaConf.merge(config, _ADDED))).to(wish.device)
    versions = {"edgetam-dimos": version("edgetam-dimos")}
    about = About("EdgeTAM", "random (seed 0)", f"{config.image_size} px", versions)
    return PredictorTracker(predictor, wish, about)


if __name__ == "__main__":
    raise SystemExit(serve(build))
