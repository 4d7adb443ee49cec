"""Settings of the built-in finders, without the packages that do their work."""

from typing import Annotated

from pydantic import Field

from tracker.finders.base import FinderSettings

#: A number from 0 to 1.
Share = Annotated[float, Field(ge=0, le=1)]


class AutomaticMaskSettings(FinderSettings):
    """Controls of automatic mask generation, with the names of sam2 and SAM.

    `follow_edges` lets coarse masks, such as pico's, end at the edges of the picture. Some have
    other defaults for pico: see `tracker.finders.everything`.
    """

    points_per_side: Annotated[int, Field(ge=1, le=128)] = 32
    points_per_batch: Annotated[int, Field(ge=1, le=1024)] = 64
    pred_iou_thresh: Share = 0.8
    stability_score_thresh: Share = 0.95
    stability_score_offset: Annotated[float, Field(ge=0, le=32)] = 1.0
    box_nms_thresh: Share = 0.7
    crop_n_layers: Annotated[int, Field(ge=0, le=3)] = 0
    crop_nms_thresh: Share = 0.7
    crop_overlap_ratio: Annotated[float, Field(ge=0, le=0.9)] = 512 / 1500
    crop_n_points_downscale_factor: Annotated[int, Field(ge=1, le=8)] = 1
    min_mask_region_area: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    follow_edges: bool = True


class MotionSettings(FinderSettings):
    """Settings of background subtraction.

    Attributes:
        history: Frames that the model of the background covers; what stands still becomes
            background after about a tenth of them.
        var_threshold: Squared Mahalanobis distance from which a pixel is foreground.
        warm_up: Frames at the start, and after a change of the picture's size, that teach only.
        min_area: Of a blob, as a share of the picture.
        persistence: Frames in a row on which a blob is seen before it is proposed.
        opening_px, closing_px: Sides of the squares by which specks are removed and gaps closed.
        max_share: Share of the picture that may move; more is a moved camera or another light.
    """

    history: Annotated[int, Field(ge=1, le=10_000)] = 200
    var_threshold: Annotated[float, Field(gt=0, le=10_000)] = 25.0
    warm_up: Annotated[int, Field(ge=0, le=10_000)] = 10
    min_area: Share = 0.004
    persistence: Annotated[int, Field(ge=1, le=1000)] = 3
    opening_px: Annotated[int, Field(ge=1, le=99)] = 3
    closing_px: Annotated[int, Field(ge=1, le=99)] = 5
    max_share: Share = 0.5


class TextSettings(FinderSettings):
    """Settings of detectors that are asked in words.

    Attributes:
        model: A name of `trackd models`, or a folder with a model of `transformers`.
        box_threshold: Least score of a box.
        text_threshold: Least score of a word that belongs to a box's phrase; Grounding DINO alone.
        nms_threshold: IoU above which the box of the lower score is left out.
    """

    model: str = "grounding-dino-tiny"
    box_threshold: Share = 0.3
    text_threshold: Share = 0.25
    nms_threshold: Share = 0.7


class DetectorSettings(FinderSettings):
    """Settings of detectors of classes.

    A function is imported and run: what takes settings from others must not let them name one.

    Attributes:
        model: A name of `trackd models`, a folder with a model of `transformers`, or
            `package.module.function` that returns `supervision.Detections` of an RGB picture.
        threshold: Least score of a box.
    """

    model: str = "rt-detr-r18"
    threshold: Share = 0.5
