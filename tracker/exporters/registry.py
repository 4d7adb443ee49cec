"""Registry of output formats; packages add theirs in the entry point group `trackd.exporters`.

The modules of the formats are imported when one is used: some take seconds.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from tracker.effects.registry import EFFECTS
from tracker.errors import UsageError
from tracker.exporters.base import (
    ExporterSpec,
    ExportSource,
    Labels,
    Layout,
    Setting,
    Settings,
    Writer,
)
from tracker.plugins import Registry


def _open_video(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.video import EffectVideoWriter

    return EffectVideoWriter(path, source, settings)


def _check_video_settings(settings: Settings) -> None:
    from tracker.exporters.video import check_settings

    check_settings(settings)


def _check_video_path(path: Path, settings: Settings) -> None:
    from tracker.exporters.video import check_path

    check_path(path, settings)


def _open_png(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.png import PngWriter

    return PngWriter(path, source, settings)


def _check_video_size(path: Path, height: int, width: int, settings: Settings) -> None:
    from tracker.exporters.video import check_size

    check_size(path, height, width, settings)


def _open_davis(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.davis import DavisWriter

    return DavisWriter(path, max(source.labels, default=0))


def _open_youtube_vis(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.youtube_vis import CocoWriter

    return CocoWriter(path, source.name)


def _open_coco(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.coco import CocoFramesWriter

    return CocoFramesWriter(path, source.name)


def _open_mot(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.mot import MotWriter

    return MotWriter(path, source)


def _check_mot_labels(labels: Labels) -> None:
    from tracker.exporters.mot import check_labels

    check_labels(labels)


def _open_mots(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.mots import MotsWriter

    return MotsWriter(path, source)


def _check_mots_labels(labels: Labels) -> None:
    from tracker.exporters.mots import check_labels

    check_labels(labels)


def _open_yolo_seg(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.yolo_seg import YoloSegWriter

    return YoloSegWriter(path, source, settings)


def _check_yolo_settings(settings: Settings) -> None:
    _check_polygons(settings)
    share = settings.get("yolo_val")
    if share is not None and not 0 <= share < 1:
        raise UsageError(f"--yolo-val {share:g} is no share", "give a number from 0 to below 1")


def _open_labelme(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.labelme import LabelmeWriter

    return LabelmeWriter(path, settings)


def _open_cvat(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.cvat import CvatWriter

    return CvatWriter(path, source, settings)


def _check_cvat_labels(labels: Labels) -> None:
    from tracker.exporters.cvat import check_labels

    check_labels(labels)


def _check_polygons(settings: Settings) -> None:
    shapes, tolerance_px = settings.get("shapes"), settings.get("polygon_tolerance")
    if shapes not in (None, "polygon", "mask"):
        raise UsageError(f"--shapes {shapes}: there are polygon and mask", "choose one")
    if tolerance_px is not None and not 0 <= tolerance_px <= _MAX_TOLERANCE_PX:
        raise UsageError(
            f"--polygon-tolerance {tolerance_px:g} is no distance in pixels",
            f"give a number from 0 (exact) to {_MAX_TOLERANCE_PX}",
        )


def _open_label_studio(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.label_studio import LabelStudioWriter

    return LabelStudioWriter(path, source)


def _open_parquet(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.parquet import ParquetWriter

    return ParquetWriter(path, source)


def _check_parquet(settings: Settings) -> None:
    if find_spec("pyarrow") is None:
        raise UsageError(
            "--export parquet needs pyarrow", "install it: pip install 'trackd[parquet]'"
        )


_MAX_TOLERANCE_PX = 100
_SHAPES = Setting(
    "shapes", str, "KIND", "polygon (default) or mask, for cvat and labelme", "chooses shapes for"
)
_TOLERANCE = Setting(
    "polygon_tolerance",
    float,
    "PX",
    "how far polygons may lie beside the mask, for fewer points; 0 (default) for exact",
    "simplifies polygons for",
)
_YOLO_VAL = Setting(
    "yolo_val", float, "SHARE", "of the frames, the last, for validation; default 0.2", "splits"
)

_EFFECT = Setting(
    "effect",
    str,
    "[TARGET=]NAME[:ARG]",
    "what is done to video and png (repeats, in order): "
    + "; ".join(
        f"{row.name}{f':{row.argument}' * bool(row.argument)}, {row.help}"
        for row in EFFECTS.built_in
    )
    + "; TARGET is ids, as in 1,2=blur, or rest for everything else, without it all objects",
    "draws on",
    repeats=True,
)

_VIDEO = ExporterSpec(
    "video",
    "video with effects: .mp4 (H.264), .mov (ProRes 4444) or .webm (VP9)",
    ".mp4",
    _open_video,
    shorthand="--out",
    settings=(
        Setting("out_width", int, "N", "scale that video to this even width in pixels", "scales"),
        _EFFECT,
        Setting(
            "encoder",
            str,
            "KIND",
            "of MP4: software (default) or hardware, the first that opens",
            "encodes",
        ),
    ),
    check_settings=_check_video_settings,
    check_path=_check_video_path,
    check_size=_check_video_size,
    more_suffixes=(".mov", ".webm"),
)
_PNG = ExporterSpec(
    "png",
    "folder of PNGs with the effects drawn, and alpha of --effect cutout",
    ".png",
    _open_png,
    layout=Layout.FRAMES,
    settings=(_EFFECT,),
    check_settings=_check_video_settings,
)
_DAVIS = ExporterSpec(
    "davis",
    "palette PNGs, pixel = id, named as the pictures of a folder or by frame number; 16 bits "
    "where an id is beyond 255",
    ".png",
    _open_davis,
    layout=Layout.FRAMES,
    shorthand="--davis",
    max_object_id=65534,
)
_YOUTUBE_VIS = ExporterSpec(
    "coco",
    "YouTube-VIS style JSON: one annotation per object, with lists over the frames",
    ".json",
    _open_youtube_vis,
    shorthand="--coco",
)
_COCO = ExporterSpec(
    "coco-frames",
    "COCO instances JSON, for pycocotools: each frame an image, each mask an annotation",
    ".json",
    _open_coco,
    shorthand="--coco-frames",
)

_MOT = ExporterSpec(
    "mot",
    "folder of boxes in the layout of MOTChallenge: gt/gt.txt, gt/labels.txt, seqinfo.ini",
    ".txt",
    _open_mot,
    layout=Layout.DATASET,
    check_labels=_check_mot_labels,
)
_MOTS = ExporterSpec(
    "mots",
    "folder of masks in the layout of MOTS: gt/gt.txt, instances/*.png, seqinfo.ini",
    ".png",
    _open_mots,
    layout=Layout.DATASET,
    max_object_id=999,
    check_labels=_check_mots_labels,
)
_YOLO_SEG = ExporterSpec(
    "yolo-seg",
    "folder of YOLO segmentation labels with the pictures, in train and val, and data.yaml",
    ".txt",
    _open_yolo_seg,
    layout=Layout.DATASET,
    settings=(_YOLO_VAL, _TOLERANCE),
    check_settings=_check_yolo_settings,
)
_LABELME = ExporterSpec(
    "labelme",
    "folder of LabelMe's JSON files with the pictures",
    ".json",
    _open_labelme,
    layout=Layout.DATASET,
    settings=(_SHAPES, _TOLERANCE),
    check_settings=_check_polygons,
)
_CVAT = ExporterSpec(
    "cvat",
    "CVAT's XML for video: a track per object",
    ".xml",
    _open_cvat,
    settings=(_SHAPES, _TOLERANCE),
    check_settings=_check_polygons,
    check_labels=_check_cvat_labels,
)
_LABEL_STUDIO = ExporterSpec(
    "label-studio",
    "folder of Label Studio tasks: the video with boxes, its frames with brush masks",
    ".jpg",
    _open_label_studio,
    layout=Layout.DATASET,
)
_PARQUET = ExporterSpec(
    "parquet",
    "Parquet table, a row per object and frame",
    ".parquet",
    _open_parquet,
    check_settings=_check_parquet,
)

EXPORTERS = Registry(
    "exporter",
    ExporterSpec,
    "trackd.exporters",
    (
        _VIDEO,
        _DAVIS,
        _YOUTUBE_VIS,
        _COCO,
        _PNG,
        replace(_YOUTUBE_VIS, name="youtube-vis", shorthand=""),
        _MOT,
        _MOTS,
        _YOLO_SEG,
        _LABELME,
        _CVAT,
        _LABEL_STUDIO,
        _PARQUET,
    ),
)
