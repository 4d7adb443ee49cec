"""Report of an evaluation: a table for people, JSON for programs, pictures of the worst frames."""

import json
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.table import Table

from tools.evaluate.metrics import Statistics
from tools.evaluate.prompting import PromptKind
from tools.evaluate.scoring import SequenceScore, WorstFrame
from tracker.models import Model

PREDICTED_RGB = (0, 140, 255)
TRUE_RGB = (255, 230, 0)


@dataclass(frozen=True, slots=True)
class Report:
    """Scores of a model with one kind of prompt, at least one sequence."""

    model: Model
    prompt: PromptKind
    scores: tuple[SequenceScore, ...]

    @property
    def overall(self) -> tuple[Statistics, Statistics]:
        """J and F averaged over sequences, as DAVIS does: a long one counts as a short one."""
        return _average([s.j for s in self.scores]), _average([s.f for s in self.scores])

    @property
    def fps(self) -> float:
        """Frames per second at the median step of the sequences."""
        return 1000 / float(np.median([s.step_ms for s in self.scores]))

    def table(self) -> Table:
        """One row per sequence, and the mean."""
        model = self.model
        table = Table(
            title=f"{model.name}, {self.prompt} prompt, {model.device} {model.precision}",
            caption="recall: frames above 0.5; decay: first quarter less the last",
            box=SIMPLE,
            padding=(0, 1, 0, 0),
        )
        table.add_column("sequence", no_wrap=True)
        for name in ("frames", "J&F", "J", "recall", "decay", "F", "recall", "decay", "fps"):
            table.add_column(name, justify="right", no_wrap=True)
        for s in self.scores:
            table.add_row(s.name, str(s.frames), *_cells(s.j, s.f), f"{1000 / s.step_ms:.1f}")
        table.add_section()
        frames = sum(s.frames for s in self.scores)
        table.add_row("mean", str(frames), *_cells(*self.overall), f"{self.fps:.1f}", style="bold")
        return table

    def to_json(self) -> str:
        """The same as JSON, with the fingerprint of the weights."""
        j, f = self.overall
        content = {
            "model": self.model.name,
            "weights_sha256": self.model.fingerprint,
            "device": str(self.model.device),
            "dtype": self.model.precision,
            "prompt": str(self.prompt),
            "overall": _scores(j, f) | {"fps": round(self.fps, 2)},
            "sequences": {
                s.name: {"frames": s.frames}
                | _scores(s.j, s.f)
                | {"step_ms": round(s.step_ms, 2), "worst_frame": s.worst.index}
                for s in self.scores
            },
        }
        return json.dumps(content, indent=2) + "\n"


def worst_png(score: SequenceScore) -> bytes:
    """The worst frame of a sequence as PNG: tracked mask in blue, true outline in yellow."""
    picture_hwc = _overlay(score.worst)
    return cv2.imencode(".png", cv2.cvtColor(picture_hwc, cv2.COLOR_RGB2BGR))[1].tobytes()


def _overlay(worst: WorstFrame) -> NDArray[np.uint8]:
    picture_hwc = worst.image_hwc.copy()
    colour = np.array(PREDICTED_RGB, np.uint8)
    picture_hwc[worst.predicted_hw] = picture_hwc[worst.predicted_hw] // 2 + colour // 2
    contours, _ = cv2.findContours(
        worst.true_hw.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(picture_hwc, contours, -1, TRUE_RGB, 2)
    text = f"frame {worst.index}  J {worst.j:.3f}"
    for colour_rgb, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
        cv2.putText(
            picture_hwc, text, (12, 32), cv2.FONT_HERSHEY_SIMPLEX, 0.9, colour_rgb, thickness
        )
    return picture_hwc


def _average(parts: list[Statistics]) -> Statistics:
    return Statistics(
        mean=float(np.mean([p.mean for p in parts])),
        recall=float(np.mean([p.recall for p in parts])),
        decay=float(np.mean([p.decay for p in parts])),
    )


def _cells(j: Statistics, f: Statistics) -> list[str]:
    jf = (j.mean + f.mean) / 2
    cells = [f"{jf:.3f}"]
    for part in (j, f):
        cells += [f"{part.mean:.3f}", f"{part.recall:.2f}", f"{part.decay:+.2f}"]
    return cells


def _scores(j: Statistics, f: Statistics) -> dict[str, float]:
    values = {
        "JF": (j.mean + f.mean) / 2,
        "J": j.mean,
        "J_recall": j.recall,
        "J_decay": j.decay,
        "F": f.mean,
        "F_recall": f.recall,
        "F_decay": f.decay,
    }
    return {name: round(value, 4) for name, value in values.items()}
