"""Registry of formats that are read; packages add theirs in the entry points `trackd.importers`."""

from collections.abc import Iterator
from pathlib import Path

from tracker.importers.base import Annotated, ImporterSpec
from tracker.plugins import Registry


def _coco(path: Path) -> Iterator[Annotated]:
    from tracker.importers.coco import read_coco

    return read_coco(path)


def _youtube_vis(path: Path) -> Iterator[Annotated]:
    from tracker.importers.coco import read_youtube_vis

    return read_youtube_vis(path)


def _cvat(path: Path) -> Iterator[Annotated]:
    from tracker.importers.cvat import read_cvat

    return read_cvat(path)


def _labelme(path: Path) -> Iterator[Annotated]:
    from tracker.importers.labelme import read_labelme

    return read_labelme(path)


def _yolo(path: Path) -> Iterator[Annotated]:
    from tracker.importers.yolo import read_yolo

    return read_yolo(path)


def _davis(path: Path) -> Iterator[Annotated]:
    from tracker.importers.davis import read_davis

    return read_davis(path)


IMPORTERS = Registry(
    "importer",
    ImporterSpec,
    "trackd.importers",
    (
        ImporterSpec("cvat", "CVAT's XML, for video or for images", _cvat),
        ImporterSpec("coco", "COCO instances JSON, one object per annotation or track_id", _coco),
        ImporterSpec("youtube-vis", "YouTube-VIS JSON with one video", _youtube_vis),
        ImporterSpec("labelme", "LabelMe's JSON file, or a folder of them", _labelme),
        ImporterSpec("yolo", "folder with data.yaml, labels/ and images/", _yolo),
        ImporterSpec("davis", "folder of palette or grey PNGs, pixel = id", _davis),
    ),
)
