"""Other programs read what the exporters write: the same pixels, ids and labels."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.support import exported, read_back, score_themselves
from tests.support.other_programs import other_python
from tracker.exporters.base import UNNAMED, Layout
from tracker.exporters.registry import EXPORTERS

pytestmark = [pytest.mark.network, pytest.mark.slow]

#: supervision fills polygons with the pixels on their border, which counts most in small ones.
LEAST_IOU = {"yolo-seg": 0.6, "labelme": 0.6}
#: What the program sees of them has no ids, but their order.
WITHOUT_IDS = ("coco-frames", "yolo-seg", "labelme")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What the programs see of every format, read in one process: some take long to start."""
    folder = tmp_path_factory.mktemp("formats")
    for name in read_back.READERS:
        spec = EXPORTERS.find(name)
        suffix = spec.suffix if spec.layout is Layout.FILE else ""
        exported.export(name, folder / f"{name}{suffix}")
    out = folder / "seen.npz"
    argv = [other_python(), read_back.__file__, folder, out, exported.HEIGHT, exported.WIDTH]
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(out) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", read_back.READERS)
def test_another_program_reads_the_same(seen: dict[str, np.ndarray], name: str):
    assert f"{name}/error" not in seen, seen[f"{name}/error"]
    expected = exported.expected()
    ids = {frame: [i for f, i in expected if f == frame] for frame in range(exported.COUNT)}
    found = {key: place for key, place in seen.items() if key.startswith(f"{name}/")}
    assert len(found) == len(expected)
    for key, place in found.items():
        _, frame, number, label = key.split("/", 3)
        object_id = ids[int(frame)][int(number)] if name in WITHOUT_IDS else int(number)
        mask = expected.pop((int(frame), object_id))
        assert label == (exported.LABELS[object_id] or UNNAMED)
        if place.ndim == 1:
            y, x = np.nonzero(mask)
            assert place.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        else:
            iou = (mask & (place > 0)).sum() / (mask | (place > 0)).sum()
            assert iou >= LEAST_IOU.get(name, 1.0), key
    assert not expected


def test_trackeval_scores_mot_and_mots_against_themselves(tmp_path: Path):
    for name in ("mot", "mots"):
        exported.export(name, tmp_path / name)
    argv = [other_python(), score_themselves.__file__, tmp_path]
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    scores = json.loads(done.stdout.splitlines()[-1])
    assert scores["mot"] == {"HOTA": 1.0, "MOTA": 1.0, "IDF1": 1.0}
    assert scores["mots"] == {"HOTA": 1.0, "MOTSA": 1.0, "IDF1": 1.0}
