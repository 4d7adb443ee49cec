"""The command line of `python -m tools.evaluate`."""

import argparse
import sys
from collections.abc import Callable
from collections.abc import Sequence as Arguments
from functools import partial
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streams.errors import StreamError
from tools.evaluate.dataset import Labels, Sequence, find_sequences
from tools.evaluate.prompting import PromptKind
from tools.evaluate.report import Report, worst_png
from tools.evaluate.scoring import SequenceScore, score_sequence
from tracker.cli.terminal import make_console
from tracker.engine import POLICIES, Session
from tracker.errors import OutputError, TrackdError
from tracker.models import load_model

EXIT_INTERRUPTED = 130


def main(argv: Arguments[str] | None = None) -> int:
    """Run the command; return 0, or 1 for a failure, 2 for wrong usage, 130 for Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        return _evaluate(options)
    except (TrackdError, StreamError) as err:
        print(f"evaluate: {err}", file=sys.stderr)
        return err.exit_code
    except KeyboardInterrupt:
        print("evaluate: stopped before the first sequence was done", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.evaluate",
        description="Score a model on a folder in the layout of DAVIS: region J and boundary F.",
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="holds JPEGImages and Annotations")
    parser.add_argument(
        "--prompt", required=True, choices=[str(kind) for kind in PromptKind], help="first frame"
    )
    parser.add_argument("--model", default="pico", help="a name of `trackd checkpoints list`")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights to load instead")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--dtype", default="auto", help="auto, fp32, bf16 or int8")
    parser.add_argument(
        "--policy",
        default="default",
        choices=list(POLICIES),
        help="official: without our additions",
    )
    parser.add_argument(
        "--per-object", action="store_true", help="score each id of the PNGs, as DAVIS 2017 does"
    )
    parser.add_argument("--void", action="store_true", help="255 in a PNG is not scored")
    parser.add_argument("--seqs", default="", metavar="A,B", help="only these sequences")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores as JSON")
    parser.add_argument("--worst", type=Path, metavar="DIR", help="draw the worst frames as PNGs")
    return parser


def _evaluate(options: argparse.Namespace) -> int:
    names = tuple(name for name in options.seqs.split(",") if name)
    sequences = find_sequences(options.dir, names)
    if options.json is not None:
        _make_folder(options.json.parent)
    if options.worst is not None:
        _make_folder(options.worst)
    model = load_model(
        options.model, checkpoint=options.checkpoint, device=options.device, dtype=options.dtype
    )
    kind = PromptKind(options.prompt)
    policy = POLICIES[options.policy]
    labels = Labels(per_object=options.per_object, void=options.void)
    scores, done = _score_all(
        partial(score_sequence, kind=kind, labels=labels),
        lambda: Session(model, policy),
        sequences,
        options.worst,
    )
    report = Report(model, kind, scores)
    make_console().print(report.table())
    if options.json is not None:
        _write(options.json, report.to_json().encode())
    if done < len(sequences):
        print(
            f"evaluate: stopped after {done} of {len(sequences)} sequences",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    return 0


def _score_all(
    score: Callable[..., tuple[SequenceScore, ...]],
    new_session: Callable[[], Session],
    sequences: tuple[Sequence, ...],
    worst_dir: Path | None,
) -> tuple[tuple[SequenceScore, ...], int]:
    """Score the sequences in turn; Ctrl-C ends it early with those done, if there are any.

    Returns:
        The scores, and how many sequences they are of.
    """
    scores: list[SequenceScore] = []
    done = 0
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=make_console(stderr=True)) as progress:
        task = progress.add_task("", total=sum(len(s.annotations) for s in sequences))
        try:
            for sequence in sequences:
                progress.update(task, description=sequence.name)
                new = score(new_session(), sequence, on_frame=lambda: progress.advance(task))
                scores += new
                done += 1
                if worst_dir is not None:
                    for each in new:
                        _write(worst_dir / f"{each.name}.png", worst_png(each))
        except KeyboardInterrupt:
            if not scores:
                raise
    return tuple(scores), done


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"cannot make folder {folder}: {err.strerror}", "choose another") from err


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as err:
        raise OutputError(f"cannot write {path}: {err.strerror}", "choose another file") from err
