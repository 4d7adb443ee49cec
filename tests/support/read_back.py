"""Reads what an exporter wrote with another program, and saves what that one sees.

Run by the Python of `tests.support.other_programs`, which has these programs:
`read_back.py FOLDER OUT.npz HEIGHT WIDTH` reads `FOLDER/FORMAT` or `FOLDER/FORMAT.suffix` of each
format. The file has an array `FORMAT/FRAME/ID/LABEL` for each object: its mask [H, W], or its box
x0, y0, x1, y1. Frames count from 0; ids are 0 and up where a format has none.
"""

import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

Objects = Iterator[tuple[int, int, str, np.ndarray]]


def datumaro(path: Path, name: str) -> tuple[list, list[str]]:
    from datumaro import AnnotationType, Dataset

    dataset = Dataset.import_from(str(path), name)
    labels = [item.name for item in dataset.categories()[AnnotationType.label].items]
    return list(dataset), labels


def cvat(path: Path) -> Objects:
    from datumaro.util.mask_tools import rles_to_mask

    height, width = SIZE_HW
    items, labels = datumaro(path, "cvat")
    for item in items:
        for found in item.annotations:
            if not found.attributes["outside"]:
                mask = rles_to_mask([found.points], width, height)
                frame = int(item.id.rpartition("_")[2])
                yield frame, found.attributes["track_id"], labels[found.label], mask


def coco(path: Path) -> Objects:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "annotations" / "instances_main.json"
        place.parent.mkdir()
        (Path(folder) / "images").mkdir()
        shutil.copy(path, place)
        items, labels = datumaro(place, "coco_instances")
        for item in items:
            masks = [found for found in item.annotations if hasattr(found, "image")]
            masks.sort(key=lambda found: found.id)
            for index, found in enumerate(masks):
                yield item.attributes["id"] - 1, index, labels[found.label], found.image


def mot(path: Path) -> Objects:
    items, labels = datumaro(path, "mot_seq")
    for item in items:
        for found in item.annotations:
            x, y, w, h = found.get_bbox()
            box = np.array([x - 1, y - 1, x - 1 + w, y - 1 + h])  # datumaro leaves them 1-based
            yield int(item.id) - 1, found.attributes["track_id"], labels[found.label], box


def mots(path: Path) -> Objects:
    items, labels = datumaro(path, "mots")
    for item in items:
        for found in item.annotations:
            track_id = int(found.attributes["track_id"])
            yield int(item.id) - 1, track_id, labels[found.label], found.image


def yolo_seg(path: Path) -> Objects:
    """By supervision, which fills polygons with the pixels on their border."""
    import supervision as sv

    for split in ("train", "val"):
        dataset = sv.DetectionDataset.from_yolo(
            str(path / "images" / split),
            str(path / "labels" / split),
            str(path / "data.yaml"),
            force_masks=True,
        )
        yield from of_supervision(dataset)


def labelme(path: Path) -> Objects:
    import supervision as sv

    dataset = sv.DetectionDataset.from_labelme(str(path), str(path), force_masks=True)
    yield from of_supervision(dataset)


def of_supervision(dataset) -> Objects:
    for name, _, found in dataset:
        for index, (mask, label) in enumerate(zip(found.mask, found.class_id, strict=True)):
            yield int(Path(name).stem), index, dataset.classes[label], mask


def label_studio(path: Path) -> Objects:
    from label_studio_sdk.converter.brush import decode_rle

    for task in json.loads((path / "frames.json").read_text()):
        for item in task["annotations"][0]["result"]:
            size = (item["original_height"], item["original_width"], 4)
            (label,) = item["value"]["brushlabels"]
            mask = decode_rle(item["value"]["rle"]).reshape(size)[..., 3] > 0
            yield task["data"]["frame"], item["meta"]["object_id"], label, mask


def parquet(path: Path) -> Objects:
    import duckdb
    from pycocotools import mask as coco_mask

    query = f"SELECT frame, object_id, label, height, width, counts FROM '{path}'"
    for frame, object_id, label, *size, counts in duckdb.sql(query).fetchall():
        if counts is not None:
            mask = coco_mask.decode({"size": size, "counts": counts})
            yield frame, object_id, label or "object", mask


READERS: dict[str, Callable[[Path], Objects]] = {
    "cvat": cvat,
    "coco-frames": coco,
    "mot": mot,
    "mots": mots,
    "yolo-seg": yolo_seg,
    "labelme": labelme,
    "label-studio": label_studio,
    "parquet": parquet,
}


def main(folder: Path, out: Path) -> None:
    """Read every format; what a reader raises is kept in place of what it sees."""
    seen: dict[str, np.ndarray] = {}
    for name, reader in READERS.items():
        path = next(folder.glob(f"{name}.*"), folder / name)
        try:
            for frame, object_id, label, place in reader(path):
                seen[f"{name}/{frame}/{object_id}/{label}"] = place
        except Exception:
            seen[f"{name}/error"] = np.array(traceback.format_exc())
    np.savez_compressed(out, **seen)


if __name__ == "__main__":
    SIZE_HW = (int(sys.argv[3]), int(sys.argv[4]))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
