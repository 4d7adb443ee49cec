"""Registry of output formats; packages add theirs in the entry point group `trackd.exporters`.

The modules of the formats are imported when one is used: some take seconds.
"""

from pathlib import Path

from tracker.exporters.base import ExporterSpec, ExportSource, Setting, Settings, Writer
from tracker.plugins import Registry


def _open_video(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.video import EffectVideoWriter, effect_of

    return EffectVideoWriter(path, source.fps, settings.get("out_width"), effect_of(settings))


def _check_video_settings(settings: Settings) -> None:
    from tracker.exporters.video import check_settings

    check_settings(settings)


def _check_video_size(path: Path, height: int, width: int, settings: Settings) -> None:
    from tracker.exporters.video import check_size

    check_size(path, height, width, settings)


def _open_davis(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.davis import DavisWriter

    return DavisWriter(path)


def _open_youtube_vis(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.youtube_vis import CocoWriter

    return CocoWriter(path, source.name)


def _open_coco(path: Path, source: ExportSource, settings: Settings) -> Writer:
    from tracker.exporters.coco import CocoFramesWriter

    return CocoFramesWriter(path, source.name)


_VIDEO = ExporterSpec(
    "video",
    "video with the masks drawn",
    ".mp4",
    _open_video,
    shorthand="--out",
    settings=(
        Setting("out_width", int, "N", "scale that video to this even width in pixels", "scales"),
        Setting("effect", str, "NAME", "what is drawn on it: overlay (default), blur", "draws on"),
    ),
    check_settings=_check_video_settings,
    check_size=_check_video_size,
)
_DAVIS = ExporterSpec(
    "davis",
    "palette PNGs, pixel = id, named as the pictures of a folder or by frame number",
    ".png",
    _open_davis,
    is_folder=True,
    shorthand="--davis",
    max_object_id=255,
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

EXPORTERS = Registry(
    "exporter", ExporterSpec, "trackd.exporters", (_VIDEO, _DAVIS, _YOUTUBE_VIS, _COCO)
)
