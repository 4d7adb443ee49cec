"""The command line of `python -m tools.finding`."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streams.errors import StreamError
from tools.evaluate.dataset import find_sequences
from tools.finding import everything, motion
from tools.finding.stills import read_stills
from tracker.annotate.finding import FinderChoice
from tracker.errors import OutputError, TrackdError
from tracker.finders.settings import AutomaticMaskSettings
from tracker.models import load_model

RESULTS = Path(__file__).with_name("results")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 for a failure, 2 for wrong usage."""
    options = _parser().parse_args(argv)
    try:
        measured = _everything(options) if options.finder == "everything" else _motion(options)
        _write(options.results, options.finder, measured)
    except (TrackdError, StreamError) as err:
        print(f"finding: {err}", file=sys.stderr)
        return err.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.finding", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    finders = parser.add_subparsers(dest="finder", required=True)
    stills = finders.add_parser("everything", help="recall of true objects, beside sam2's own")
    stills.add_argument("dirs", type=Path, nargs="+", metavar="DIR", help="NAME.jpg, NAME.0.png")
    stills.add_argument("--pictures", type=int, default=30, metavar="N", help="of each folder")
    clips = finders.add_parser("motion", help="births on clips of a fixed camera")
    clips.add_argument("dir", type=Path, metavar="DIR", help="JPEGImages and Annotations with ids")
    return parser


def _everything(options: argparse.Namespace) -> dict[str, Any]:
    settings, model = AutomaticMaskSettings(), load_model("pico", device="cpu")
    generators = {
        "trackd": everything.our_generator(model, settings),
        "sam2's own": everything.sam2_generator(settings),
    }
    rows = []
    for folder in options.dirs:

        def show(number: int, name: str = folder.name) -> None:
            print(f"{name}: picture {number}", file=sys.stderr, flush=True)

        stills = read_stills(folder, options.pictures)
        scores = everything.measure(folder.name, stills, generators, show)
        rows += [score.row() for score in scores]
    return {"model": model.name, "precision": model.precision, "rows": rows}


def _motion(options: argparse.Namespace) -> dict[str, Any]:
    model, choice = load_model("pico", device="cpu"), FinderChoice.of("motion")
    scores, clips = [], find_sequences(options.dir)
    for clip in clips:
        others = [other for other in clips if other is not clip]
        scores.append(motion.measure_clip(model, clip, others, choice))
        print(scores[-1], file=sys.stderr, flush=True)
    rows = [{**asdict(score), "delays": list(score.delays)} for score in scores]
    return {"model": model.name, "rows": rows, "all": motion.summary(scores)}


def _write(folder: Path, finder: str, measured: dict[str, Any]) -> None:
    """The figures as JSON, and as a table."""
    command = f"python -m tools.finding {finder}"
    heads = list(measured["rows"][0])
    lines = [f"# {finder}", "", f"`{command}`, with {measured['model']}", ""]
    lines += [f"| {' | '.join(head.replace('_', ' ') for head in heads)} |"]
    lines += [f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(str(row[head]) for head in heads)} |" for row in measured["rows"]]
    if "all" in measured:
        lines += ["", *(f"- {key.replace('_', ' ')}: {v}" for key, v in measured["all"].items())]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{finder}.json").write_text(json.dumps(measured, indent=2) + "\n")
        (folder / f"{finder}.md").write_text("\n".join(lines) + "\n")
    except OSError as err:
        raise OutputError(f"cannot write {folder}: {err.strerror}", "choose another") from err
    print("\n".join(lines))
