"""Scores the sequences `FOLDER/mot` and `FOLDER/mots` against themselves with TrackEval.

Run by the Python of `tests.support.other_programs`: `score_themselves.py FOLDER` prints the scores
as JSON, in its last line.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np


def score(folder: Path, name: str) -> dict[str, float]:
    import trackeval

    truth, tracker = folder / f"{name}-truth", folder / f"{name}-trackers"
    shutil.copytree(folder / name, truth / "clip")
    (tracker / "us" / "data").mkdir(parents=True)
    if name == "mot":  # TrackEval takes no other class than the first, pedestrian
        lines = (truth / "clip" / "gt" / "gt.txt").read_text().splitlines(keepends=True)
        pedestrians = [line for line in lines if line.split(",")[7] == "1"]
        (truth / "clip" / "gt" / "gt.txt").write_text("".join(pedestrians))
    shutil.copy(truth / "clip" / "gt" / "gt.txt", tracker / "us" / "data" / "clip.txt")
    kind = (
        trackeval.datasets.MotChallenge2DBox if name == "mot" else trackeval.datasets.MOTSChallenge
    )
    config = kind.get_default_dataset_config() | {
        "GT_FOLDER": str(truth),
        "TRACKERS_FOLDER": str(tracker),
        "TRACKERS_TO_EVAL": ["us"],
        "SEQ_INFO": {"clip": None},
        "SKIP_SPLIT_FOL": True,
        "DO_PREPROC": False,
        "PRINT_CONFIG": False,
    }
    settings = {"METRICS": ["HOTA", "CLEAR", "Identity"], "PRINT_CONFIG": False}
    metrics = [trackeval.metrics.HOTA(settings), trackeval.metrics.CLEAR(settings)]
    metrics.append(trackeval.metrics.Identity(settings))
    evaluator = trackeval.Evaluator(
        trackeval.Evaluator.get_default_eval_config()
        | {
            "PRINT_CONFIG": False,
            "OUTPUT_SUMMARY": False,
            "OUTPUT_DETAILED": False,
            "PLOT_CURVES": False,
            "PRINT_RESULTS": False,
            "TIME_PROGRESS": False,
        }
    )
    results, _ = evaluator.evaluate([kind(config)], metrics)
    (by_sequence,) = results.values()
    found = by_sequence["us"]["COMBINED_SEQ"]["pedestrian"]
    accuracy = "MOTA" if name == "mot" else "MOTSA"
    return {
        "HOTA": float(np.mean(found["HOTA"]["HOTA"])),
        accuracy: float(found["CLEAR"]["MOTA"]),
        "IDF1": float(found["Identity"]["IDF1"]),
    }


if __name__ == "__main__":
    print(json.dumps({name: score(Path(sys.argv[1]), name) for name in ("mot", "mots")}))
